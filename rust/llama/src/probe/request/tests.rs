use super::*;

const SHAPE: Shape = Shape { n_layer: 3, n_head: 2, widths: [8, 6, 8] };

fn bounds(slots: &[usize]) -> Bounds<'_> {
    Bounds { shape: &SHAPE, n_vocab: 10, n_batch: 4, slots }
}

/// One job that decodes positions 2 and 3 behind two cells of slot 0.
fn request() -> Request {
    let (tokens, wanted) = (vec![5, 6], vec![1, 2]);
    let job = Job { tokens, wanted, parent: Some(0), n_shared: 2, keep: None };
    Request { jobs: vec![job], ..Request::default() }
}

fn row(site: Site, layer: usize, position: usize) -> Row {
    Row { job: 0, site, layer, position }
}

fn edit(row: Row) -> Edit {
    Edit { row, column: 3, values: Values::Given(vec![0.0; 3]) }
}

fn field(error: &Error) -> &'static str {
    match error {
        Error::OutOfRange { field, .. } => field,
        _ => "",
    }
}

#[test]
fn a_sound_request_passes() {
    let mut request = request();
    request.edits.push(edit(row(Site::Heads, 2, 3)));
    request.reads.push(row(Site::Residual, 0, 2));
    assert_eq!(request.check(&bounds(&[2])), Ok(()));
}

#[test]
fn every_number_is_checked() {
    type Spoil = fn(&mut Request);
    let cases: [(&str, Spoil); 8] = [
        ("slot", |r| r.jobs[0].keep = Some(1)),
        ("n_shared", |r| r.jobs[0].n_shared = 3),
        ("layer", |r| r.reads.push(row(Site::Heads, 3, 2))),
        ("position", |r| r.reads.push(row(Site::Heads, 0, 1))),
        ("position", |r| r.reads.push(row(Site::Heads, 0, 4))),
        ("column", |r| r.edits.push(Edit { column: 6, ..edit(row(Site::Heads, 0, 2)) })),
        ("n_columns", |r| r.zero(row(Site::Heads, 0, 2), 3, 4)),
        ("n_columns", |r| r.write(row(Site::Heads, 0, 2), 3, vec![])),
    ];
    for (expected, spoil) in cases {
        let mut request = request();
        spoil(&mut request);
        assert_eq!(field(&request.check(&bounds(&[2])).unwrap_err()), expected);
    }
}

#[test]
fn tokens_are_checked() {
    let mut long = request();
    long.jobs[0].tokens = vec![1; 5];
    assert_eq!(long.check(&bounds(&[2])), Err(Error::TooLong { index: 0, n_tokens: 5, limit: 4 }));
    let mut foreign = request();
    foreign.jobs[0].wanted = vec![10];
    assert!(matches!(foreign.check(&bounds(&[2])), Err(Error::TokenOutOfRange { token: 10, .. })));
    let mut empty = request();
    empty.jobs[0].tokens = vec![];
    assert_eq!(empty.check(&bounds(&[2])), Err(Error::EmptySequence { index: 0 }));
}

#[test]
fn a_slot_that_a_job_fills_belongs_to_it() {
    let job = |parent, keep| Job { tokens: vec![1], wanted: vec![], parent, n_shared: 0, keep };
    let check = |jobs: Vec<Job>| Request { jobs, ..Request::default() }.check(&bounds(&[2, 2]));
    let shared = |index, slot| Err(Error::SlotShared { index, slot });
    assert_eq!(check(vec![job(None, Some(0)), job(Some(0), None)]), shared(1, 0));
    assert_eq!(check(vec![job(Some(1), None), job(None, Some(1))]), shared(0, 1));
    assert_eq!(check(vec![job(None, Some(1)), job(None, Some(1))]), shared(1, 1));
    assert_eq!(check(vec![job(Some(0), Some(0)), job(Some(1), Some(1)), job(None, None)]), Ok(()));
}

#[test]
fn rows_behind_the_heads_of_the_last_layer_become_outputs() {
    let mut request = request();
    request.reads = vec![row(Site::Heads, 2, 2), row(Site::Residual, 1, 2)];
    assert_eq!(request.outputs(&request.index(), 0, 3), BTreeSet::from([3]));
    request.edits.push(edit(row(Site::FeedForward, 2, 2)));
    assert_eq!(request.outputs(&request.index(), 0, 3), BTreeSet::from([2, 3]));
}

#[test]
fn sites_have_names() {
    let named = ["residual", "attention", "feed_forward"].map(Site::named);
    assert_eq!(named, Site::ALL.map(Ok));
    assert!(matches!(Site::named("heads"), Err(Error::UnknownSite { .. })));
}
