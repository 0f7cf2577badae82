//! One context and several users: turns, leases, failures in the middle, and threads.
//!
//! Under `ThreadSanitizer` and Miri these tests check the locking itself (design/llama-cpp.md):
//! `RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu -p misfired-llama sharing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::fake::{self, N_COPIES, N_HEAD, N_LAYER, N_VOCAB, WIDTH, logits_after};
use crate::generate::{Generated, Rules};
use crate::handle::{Context, Model};
use crate::logprob;
use crate::plan::{Packing, Ragged, Token};
use crate::probe::callback::{BatchRow, Read, Task, Work};
use crate::probe::{Job, Prober, Request, Row, Site, Watcher};
use crate::turn::Turn;
use crate::{Generator, Scored, Scorer};

const N_BATCH: usize = 56;
const N_SEQ_MAX: usize = 16;
const WANTED: [i32; 3] = [3, 17, 30];

fn never() -> bool {
    false
}

/// Sequences with a common header, of several lengths, some equal.
fn rows() -> Vec<Vec<i32>> {
    let tail = |i: i32| (0..3 + i % 4).map(move |j| 1 + (i / 2 * 5 + j * 3) % 39);
    (0..12).map(|i| (1..12).chain(tail(i)).collect()).collect()
}

fn ragged(rows: &[Vec<i32>]) -> Ragged {
    let ends = rows.iter().scan(0, |n, row| {
        *n += row.len();
        Some(*n)
    });
    Ragged::new("tokens", rows.concat(), std::iter::once(0).chain(ends).collect()).unwrap()
}

fn scorer(context: &Arc<Context>) -> Scorer {
    let wanted = ragged(&vec![WANTED.to_vec(); rows().len()]);
    Scorer::new(Arc::clone(context), ragged(&rows()), wanted, 6, Packing::Packed, 0).unwrap()
}

fn generator(context: &Arc<Context>) -> Generator {
    let rules = Rules { n_generate: 4, stop: vec![], n_places: 3 };
    Generator::new(Arc::clone(context), ragged(&rows()), rules, 6, Packing::Packed).unwrap()
}

fn block<W: crate::Work>(run: &mut crate::Run<W>, index: usize) -> crate::Result<Vec<W::Done>> {
    run.start(index)?;
    let mut done = vec![];
    while let Some(some) = run.step()? {
        done.extend(some);
    }
    Ok(done)
}

fn assert_scored(scored: &[Scored]) {
    for Scored { sequence, position: found } in scored {
        assert_eq!(*found, logprob::Row::new(&logits_after(&rows()[*sequence])).position(&WANTED));
    }
}

fn assert_written(texts: &[Generated]) {
    for text in texts {
        let mut ids = rows()[text.sequence].clone();
        let chosen = (0..text.n_tokens).map(|_| {
            let choice = logprob::Row::new(&logits_after(&ids)).choice();
            ids.push(choice.token);
            choice.logp
        });
        assert_eq!(chosen.sum::<f64>().to_bits(), text.logp.to_bits());
    }
}

/// Two prompts in slots; the last token of the first one takes the second's residual in layer 0.
fn patch(prober: &mut Prober) -> crate::Result<()> {
    let [from, to] = [1, 2].map(|i| rows()[i].clone());
    let wanted: Vec<i32> = (0..N_VOCAB as i32).collect();
    let place = |job, prompt: &[i32]| Row {
        job,
        site: Site::Residual,
        layer: 0,
        position: prompt.len() - 1,
    };
    let mut held = Request::default();
    for (slot, prompt) in [&from, &to].into_iter().enumerate() {
        let tokens = prompt.clone();
        held.add(Job { tokens, wanted: wanted.clone(), keep: Some(slot), ..Job::default() });
        held.read(place(slot, prompt));
    }
    let before = prober.run(&held)?;
    assert_eq!(before.logits[0], logits_after(&from));
    let mut patched = Request::default();
    let (n_shared, tokens) = (to.len() - 1, vec![to[to.len() - 1]]);
    patched.add(Job { tokens, wanted, parent: Some(1), n_shared, keep: None });
    patched.write(place(0, &to), 0, before.rows[0].clone());
    // Everything after layer 0 reads the residual stream alone.
    assert_eq!(prober.run(&patched)?.logits[0], logits_after(&from));
    Ok(())
}

#[test]
fn the_older_of_two_users_is_told_and_can_start_again() {
    let (context, _) = fake::context(N_BATCH, N_SEQ_MAX, never);
    let mut one = scorer(&context);
    assert!(one.plan().n_blocks() > 1);
    one.start(0).unwrap();
    let mut other = generator(&context);
    assert_eq!(one.step(), Err(Error::CacheTaken));
    assert_eq!(one.step(), Err(Error::NotStarted));
    assert_written(&block(&mut other, 0).unwrap());
    let scored = block(&mut one, 1).unwrap();
    assert_eq!(scored.len(), one.plan().block_sequences(1).unwrap().len());
    assert_scored(&scored);
    assert_eq!(other.step(), Err(Error::CacheTaken));
}

#[test]
fn whatever_takes_the_cache_ends_a_prober() {
    let (context, _) = fake::context(N_BATCH, N_SEQ_MAX, never);
    let mut prober = Prober::new(&context, 2).unwrap();
    patch(&mut prober).unwrap();
    context.ablate(0, 1, Some(vec![0.0; WIDTH / N_HEAD])).unwrap();
    assert_eq!(prober.run(&Request::default()), Err(Error::CacheTaken));
    assert_eq!(prober.unembed(&[], &ragged(&[])), Err(Error::CacheTaken));
    assert_eq!(prober.attention(&ragged(&[])), Err(Error::CacheTaken));
}

#[test]
fn a_step_after_a_failed_step_is_refused_and_the_block_can_be_repeated() {
    let (context, raw) = fake::context(16, N_SEQ_MAX, never);
    let mut scorer = scorer(&context);
    scorer.start(0).unwrap();
    // SAFETY: a live fake that nobody uses at the moment; so below.
    unsafe { (*raw).fail_every = 1 };
    assert!(matches!(scorer.step(), Err(Error::Decode { code: 2, .. })));
    assert_eq!(scorer.step(), Err(Error::NotStarted));
    // The header fails too, halfway.
    assert!(matches!(scorer.start(0), Err(Error::Decode { code: 2, .. })));
    unsafe { (*raw).fail_every = 0 };
    assert_eq!(scorer.step(), Err(Error::NotStarted));
    for index in 0..scorer.plan().n_blocks() {
        let done = block(&mut scorer, index).unwrap();
        assert_eq!(done.len(), scorer.plan().block_sequences(index).unwrap().len());
        assert_scored(&done);
    }
    assert_eq!(scorer.step(), Ok(None));
}

#[test]
fn a_step_needs_a_block() {
    let (context, _) = fake::context(N_BATCH, N_SEQ_MAX, never);
    assert_eq!(scorer(&context).step(), Err(Error::NotStarted));
    assert_eq!(generator(&context).step(), Err(Error::NotStarted));
}

#[test]
fn a_cut_that_llama_refuses_is_an_error() {
    let (context, raw) = fake::context(N_BATCH, N_SEQ_MAX, never);
    let mut generator = generator(&context);
    // SAFETY: a live fake that nobody uses at the moment.
    unsafe { (*raw).refuses_cuts = true };
    assert!(matches!(block(&mut generator, 0), Err(Error::NotCut { len: 0, .. })));
}

#[test]
fn what_would_end_the_process_is_refused() {
    let (context, _) = fake::context(N_BATCH - 1, N_SEQ_MAX, never);
    let error = Prober::new(&context, 2).unwrap_err();
    assert_eq!(error, Error::TooSmall { name: "n_batch", value: N_BATCH - 1, least: N_BATCH });
    let mut turn = Turn::taken(&context);
    let error = turn.decode(&[], &[]).unwrap_err();
    assert_eq!(error, Error::BatchSize { n_tokens: 0, n_batch: N_BATCH - 1 });
    assert_eq!(error.kind(), Kind::Scoring);
}

#[test]
fn every_batch_of_the_smallest_prober_fits() {
    // The fake asserts it. Seven tokens are rounded up to eight sequences of them, 57 to 60.
    for n_batch in [56, 57, 59] {
        let (context, _) = fake::context(n_batch, N_SEQ_MAX, never);
        let mut prober = Prober::new(&context, 2).unwrap();
        for n in (1..=n_batch).rev() {
            let mut request = Request::default();
            request.add(Job { tokens: vec![1; n], wanted: vec![2], ..Job::default() });
            match prober.run(&request) {
                Ok(answer) => assert_eq!(answer.logits[0], [logits_after(&vec![1; n])[2]]),
                Err(error) => {
                    assert_eq!(error, Error::TooLong { index: 0, n_tokens: n, limit: 56 });
                }
            }
        }
        let rows: Vec<f32> = vec![0.5; WIDTH * n_batch];
        let wanted = ragged(&vec![vec![0]; n_batch]);
        assert_eq!(prober.unembed(&rows, &wanted).unwrap(), vec![0.5; n_batch]);
    }
}

#[test]
fn objects_are_adopted_once() {
    let api = Arc::new(fake::api());
    let (model, address) = fake::parts(&api, N_BATCH, N_SEQ_MAX);
    let watcher = Watcher::new(&api);
    let adopt = |address: usize, watcher: Option<Watcher>| {
        // SAFETY: a live fake, or refused.
        unsafe { Context::adopt(Arc::clone(&model), address, watcher, never) }
    };
    let context = adopt(address as usize, Some(watcher.clone())).unwrap();
    let twice = Error::AdoptedTwice { what: "context" };
    assert_eq!(adopt(address as usize, None).unwrap_err(), twice);
    let (_other_model, other) = fake::parts(&api, N_BATCH, N_SEQ_MAX);
    assert_eq!(adopt(other as usize, None).unwrap_err(), Error::ForeignContext);
    // SAFETY: never adopted.
    drop(unsafe { Box::from_raw(other) });
    // SAFETY: refused.
    let again = unsafe { Model::adopt(Arc::clone(&api), model.address().addr()) };
    assert_eq!(again.unwrap_err(), Error::AdoptedTwice { what: "model" });
    drop(context);
    let (_model, address) = fake::parts(&api, N_BATCH, N_SEQ_MAX);
    assert_eq!(adopt(0, None).unwrap_err(), Error::NullAddress { what: "context" });
    // SAFETY: never adopted.
    drop(unsafe { Box::from_raw(address) });
}

#[test]
fn a_watcher_serves_one_context() {
    let api = Arc::new(fake::api());
    let watcher = Watcher::new(&api);
    let adopt = || {
        let (model, address) = fake::parts(&api, N_BATCH, N_SEQ_MAX);
        // SAFETY: a live fake.
        let context =
            unsafe { Context::adopt(model, address as usize, Some(watcher.clone()), never) };
        (context, address)
    };
    let (_first, _) = adopt();
    let (second, address) = adopt();
    assert_eq!(second.unwrap_err(), Error::WatcherTaken);
    // SAFETY: not adopted.
    drop(unsafe { Box::from_raw(address) });
}

#[test]
fn a_panic_in_the_callback_is_an_error_of_the_batch() {
    let (context, _) = fake::context(N_BATCH, N_SEQ_MAX, never);
    let watcher = context.watcher().unwrap();
    let row = BatchRow { token: 0, output: Some(0) };
    let work = Work { width: WIDTH, reads: vec![Read::Row { row, out: 0 }], ..Work::default() };
    let work = [("l_out-0".to_owned(), work)].into();
    // No room for what is read.
    watcher.give(Task { n_tokens: 1, n_outputs: 1, work, ..Task::default() }, 0);
    let mut turn = Turn::taken(&context);
    let token = [Token { id: 1, pos: 0, sequences: vec![0] }];
    let error = turn.decode(&token, &[0]).unwrap_err();
    assert!(matches!(&error, Error::Panic { node, .. } if node == "l_out-0"), "{error}");
    watcher.take();
    turn.clear(false);
    assert_eq!(turn.decode(&token, &[0]).unwrap().row(0).unwrap(), logits_after(&[1]));
}

#[test]
fn a_node_is_copied_out_and_back_once_whatever_is_changed_in_it() {
    let (context, _) = fake::context(64, N_SEQ_MAX, never);
    let head = vec![0.25; WIDTH / N_HEAD];
    context.ablate(0, 1, Some(head)).unwrap();
    let mut scorer = scorer(&context);
    N_COPIES.set(0);
    scorer.start(0).unwrap();
    // One batch: one copy out and one back, for all of its rows.
    assert_eq!(N_COPIES.get(), 2);
    let mut prober = Prober::new(&context, 2).unwrap();
    let mut request = Request::default();
    for id in 1..9 {
        let job = request.add(Job { tokens: vec![id], wanted: vec![1, 2], ..Job::default() });
        let row = Row { job, site: Site::FeedForward, layer: 1, position: 0 };
        request.write(row, 1, vec![id as f32, 2.0]);
        request.read(row);
    }
    N_COPIES.set(0);
    let together = prober.run(&request).unwrap();
    assert_eq!(N_COPIES.get(), 2 + 2);
    for (id, row) in (1_i16..9).zip(&together.rows) {
        assert_eq!(row[1..3], [f32::from(id), 2.0]);
        let mut alone = Request::default();
        let token = vec![i32::from(id)];
        alone.add(Job { tokens: token, wanted: vec![1, 2], ..Job::default() });
        let place = Row { job: 0, site: Site::FeedForward, layer: 1, position: 0 };
        alone.write(place, 1, vec![f32::from(id), 2.0]);
        let logits = &prober.run(&alone).unwrap().logits[0];
        assert_eq!(*logits, together.logits[id as usize - 1]);
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

#[test]
fn work_stops_when_it_is_told_to() {
    let (context, _) = fake::context(N_BATCH, N_SEQ_MAX, || STOP.load(Ordering::Relaxed));
    let mut scorer = scorer(&context);
    scorer.start(0).unwrap();
    STOP.store(true, Ordering::Relaxed);
    assert_eq!(scorer.step(), Err(Error::Interrupted));
    STOP.store(false, Ordering::Relaxed);
    assert_scored(&block(&mut scorer, 0).unwrap());
}

/// Scorer, generator and prober, each on a thread, take one context from one another while batches are
/// aborted: every number is that of a prompt alone, or an error.
#[test]
fn three_threads_share_a_context() {
    let seconds = std::env::var("MISFIRED_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    let time =
        if cfg!(miri) { Duration::ZERO } else { Duration::from_secs_f64(seconds.unwrap_or(1.0)) };
    let (context, raw) = fake::context(N_BATCH, N_SEQ_MAX, never);
    // SAFETY: a live fake that nobody uses yet.
    unsafe { (*raw).fail_every = 20 };
    let end = Instant::now() + time;
    let expected = |error: &Error| {
        matches!(error, Error::CacheTaken | Error::NotStarted | Error::Decode { code: 2, .. })
    };
    let repeat = |work: &mut dyn FnMut() -> crate::Result<usize>| {
        let (mut n_done, mut n_failed) = (0, 0_u64);
        loop {
            match work() {
                Ok(n) => n_done += n,
                Err(error) if expected(&error) => {
                    n_failed += 1;
                    // Let another one finish something.
                    std::thread::sleep(Duration::from_micros(n_failed % 8 * 50));
                }
                Err(error) => panic!("{error}"),
            }
            if Instant::now() > end && (n_done > 0 || cfg!(miri)) {
                return (n_done, n_failed);
            }
        }
    };
    let counts = std::thread::scope(|scope| {
        let score = scope.spawn(|| {
            let (mut scorer, mut index) = (scorer(&context), 0);
            repeat(&mut || {
                index = (index + 1) % scorer.plan().n_blocks();
                let done = block(&mut scorer, index)?;
                assert_scored(&done);
                Ok(done.len())
            })
        });
        let write = scope.spawn(|| {
            let (mut generator, mut index) = (generator(&context), 0);
            repeat(&mut || {
                index = (index + 1) % generator.plan().n_blocks();
                let texts = block(&mut generator, index)?;
                assert_written(&texts);
                Ok(texts.len())
            })
        });
        let probe = scope.spawn(|| {
            repeat(&mut || {
                let mut prober = Prober::new(&context, 2)?;
                patch(&mut prober).map(|()| 1)
            })
        });
        [score, write, probe].map(|thread| thread.join().unwrap())
    });
    println!("done and refused by scorer, generator, prober: {counts:?}; {N_LAYER} layers");
}
