use super::super::request::Job;
use super::*;

/// Jobs, each with its number of tokens; each keeps its cells in a slot or nowhere.
fn request(jobs: &[(usize, Option<usize>)]) -> Request {
    let job = |&(len, keep)| Job { tokens: vec![1; len], keep, ..Job::default() };
    Request { jobs: jobs.iter().map(job).collect(), ..Request::default() }
}

fn room(n_batch: usize, n_temporary: usize) -> Room {
    Room { n_batch, n_temporary }
}

#[test]
fn there_is_room_for_the_smallest_batch_or_none() {
    assert_eq!(Room::new(64, 18, 3), Ok(room(64, 12)));
    let too_small = |name, value, least| Err(Error::TooSmall { name, value, least });
    assert_eq!(Room::new(64, 10, 3), too_small("n_seq_max", 10, 11));
    assert_eq!(Room::new(64, 3, 4), too_small("n_seq_max", 3, 12));
    assert_eq!(Room::new(55, 18, 3), too_small("n_batch", 55, 56));
    assert_eq!(Room::new(59, 18, 3), Ok(room(56, 12)));
}

#[test]
fn sequences_of_a_batch_are_equally_long_and_neighbours() {
    let none = None;
    let jobs =
        request(&[(1, none), (1, none), (2, none), (9, Some(0)), (9, Some(1)), (9, Some(3))]);
    assert_eq!(room(64, 8).batches(&jobs), vec![0..2, 2..3, 3..5, 5..6]);
    assert_eq!(room(64, 8).batches(&request(&[])), vec![]);
}

#[test]
fn a_batch_has_room_for_what_rounds_it_up() {
    let short = request(&[(2, None); 20]);
    assert_eq!(room(64, 16).batches(&short), vec![0..16, 16..20]);
    assert_eq!(room(20, 16).batches(&short), vec![0..8, 8..16, 16..20]);
    let long = request(&[(9, None); 3]);
    assert_eq!(room(24, 16).batches(&long), vec![0..2, 2..3]);
    assert_eq!(size(&short, &(0..3)), Size { width: 2, n_sequences: 8 });
    assert_eq!(size(&short, &(0..9)), Size { width: 2, n_sequences: 12 });
    assert_eq!(size(&long, &(0..3)), Size { width: 12, n_sequences: 3 });
    assert_eq!(size(&request(&[(2, Some(0))]), &(0..1)), Size { width: 8, n_sequences: 1 });
}
