//! Minimum-cost assignment by shortest augmenting paths (Jonker and Volgenant 1987, in the
//! rectangular form of Crouse 2016).

/// Costs of pairing each row with each column, row by row. A sum over a path must fit an `i64`.
#[derive(Debug, Clone)]
pub(super) struct Costs {
    pub(super) n_columns: usize,
    pub(super) values: Vec<i64>,
}

impl Costs {
    pub(super) fn n_rows(&self) -> usize {
        self.values.len().checked_div(self.n_columns).unwrap_or(0)
    }

    fn transposed(&self) -> Self {
        let n_rows = self.n_rows();
        let values = (0..self.n_columns)
            .flat_map(|j| (0..n_rows).map(move |i| self.values[i * self.n_columns + j]));
        Self { n_columns: n_rows, values: values.collect() }
    }
}

/// As many pairs (row, column) as the shorter side has, ascending by row, of the least total cost.
///
/// Of several such assignments the one that this order of search finds: rows one after another, of
/// columns at the same distance a free one first, then the lowest. So the same costs give the same
/// pairs.
pub(super) fn assign(costs: &Costs) -> Vec<(usize, usize)> {
    if costs.n_rows() > costs.n_columns {
        let mut pairs: Vec<_> =
            assign_rows(&costs.transposed()).into_iter().map(|(j, i)| (i, j)).collect();
        pairs.sort_unstable();
        return pairs;
    }
    assign_rows(costs)
}

const NONE: usize = usize::MAX;

struct Search<'c> {
    costs: &'c Costs,
    row_price: Vec<i64>,
    column_price: Vec<i64>,
    column_of_row: Vec<usize>,
    row_of_column: Vec<usize>,
    /// The shortest path to each column found so far, and the row that it comes from.
    length: Vec<i64>,
    from: Vec<usize>,
    /// Columns that no shortest path has reached yet, ascending, and the rows and columns reached.
    open: Vec<usize>,
    rows_seen: Vec<usize>,
    columns_seen: Vec<usize>,
}

fn assign_rows(costs: &Costs) -> Vec<(usize, usize)> {
    let (n_rows, n_columns) = (costs.n_rows(), costs.n_columns);
    let mut search = Search {
        costs,
        row_price: vec![0; n_rows],
        column_price: vec![0; n_columns],
        column_of_row: vec![NONE; n_rows],
        row_of_column: vec![NONE; n_columns],
        length: vec![0; n_columns],
        from: vec![NONE; n_columns],
        open: Vec::with_capacity(n_columns),
        rows_seen: Vec::new(),
        columns_seen: Vec::new(),
    };
    for row in 0..n_rows {
        search.add(row);
    }
    search.column_of_row.into_iter().enumerate().collect()
}

impl Search<'_> {
    /// Give a row its column; rows that had one before may move to another.
    fn add(&mut self, row: usize) {
        self.length.fill(i64::MAX);
        self.open.clear();
        self.open.extend(0..self.costs.n_columns);
        self.rows_seen.clear();
        self.columns_seen.clear();
        let (sink, shortest) = self.shortest_path(row);
        self.update_prices(row, shortest);
        self.flip(row, sink);
    }

    /// The nearest free column, and how far it is.
    fn shortest_path(&mut self, start: usize) -> (usize, i64) {
        let (mut row, mut reached) = (start, 0);
        loop {
            self.rows_seen.push(row);
            let place = self.relax(row, reached);
            let column = self.open.remove(place);
            self.columns_seen.push(column);
            reached = self.length[column];
            match self.row_of_column[column] {
                NONE => return (column, reached),
                next => row = next,
            }
        }
    }

    /// Shorten the paths through a row, and find the place of the nearest open column.
    fn relax(&mut self, row: usize, reached: i64) -> usize {
        let costs = &self.costs.values[row * self.costs.n_columns..][..self.costs.n_columns];
        let base = reached - self.row_price[row];
        let mut best = (i64::MAX, true, 0);
        for (place, &column) in self.open.iter().enumerate() {
            let length = base + costs[column] - self.column_price[column];
            if length < self.length[column] {
                self.length[column] = length;
                self.from[column] = row;
            }
            let candidate = (self.length[column], self.row_of_column[column] != NONE);
            if candidate < (best.0, best.1) {
                best = (candidate.0, candidate.1, place);
            }
        }
        best.2
    }

    fn update_prices(&mut self, start: usize, shortest: i64) {
        self.row_price[start] += shortest;
        for &row in &self.rows_seen[1..] {
            self.row_price[row] += shortest - self.length[self.column_of_row[row]];
        }
        for &column in &self.columns_seen {
            self.column_price[column] -= shortest - self.length[column];
        }
    }

    /// Walk back from the free column and hand each row on the way the column after it.
    fn flip(&mut self, start: usize, sink: usize) {
        let mut column = sink;
        loop {
            let row = self.from[column];
            self.row_of_column[column] = row;
            std::mem::swap(&mut self.column_of_row[row], &mut column);
            if row == start {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(costs: &Costs, pairs: &[(usize, usize)]) -> i64 {
        pairs.iter().map(|(i, j)| costs.values[i * costs.n_columns + j]).sum()
    }

    /// The least total over all ways to pair the rows, one row after another.
    fn by_trial(costs: &Costs, row: usize, free: &mut Vec<bool>) -> i64 {
        if row == costs.n_rows() {
            return 0;
        }
        let mut best = i64::MAX;
        for column in 0..costs.n_columns {
            if std::mem::replace(&mut free[column], false) {
                let here = costs.values[row * costs.n_columns + column];
                best = best.min(here + by_trial(costs, row + 1, free));
                free[column] = true;
            }
        }
        best
    }

    proptest! {
        #[test]
        fn total_is_the_least_of_all(
            (n_columns, values) in (1_usize..6).prop_flat_map(|n| {
                (Just(n), (1..=n).prop_flat_map(move |rows| {
                    prop::collection::vec(0_i64..9, rows * n)
                }))
            }),
        ) {
            let costs = Costs { n_columns, values };
            let pairs = assign(&costs);
            prop_assert_eq!(pairs.len(), costs.n_rows());
            let mut columns: Vec<_> = pairs.iter().map(|(_, j)| *j).collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), pairs.len());
            let least = by_trial(&costs, 0, &mut vec![true; n_columns]);
            prop_assert_eq!(total(&costs, &pairs), least);
            let turned = assign(&costs.transposed());
            prop_assert_eq!(total(&costs.transposed(), &turned), least);
        }
    }

    #[test]
    fn equal_costs_pair_in_order() {
        let costs = Costs { n_columns: 4, values: vec![3; 12] };
        assert_eq!(assign(&costs), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn no_rows_give_no_pairs() {
        assert_eq!(assign(&Costs { n_columns: 0, values: vec![] }), []);
        assert_eq!(assign(&Costs { n_columns: 3, values: vec![] }), []);
    }
}
