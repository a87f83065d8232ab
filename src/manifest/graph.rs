//! Circles among dependencies, each found once, with all its members.

use std::collections::{BTreeMap, BTreeSet};

/// The circles of the graph: `["a", "b", "c"]` means a → b → c → a. Each begins with its first member by name, and no
/// two share one.
pub(super) fn circles(edges: &BTreeMap<String, Vec<String>>) -> Vec<Vec<String>> {
    let mut circles: Vec<Vec<String>> = Vec::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        if taken.contains(start.as_str()) {
            continue;
        }
        if let Some(circle) = way_back(edges, start) {
            taken.extend(circle.iter().copied());
            circles.push(circle.into_iter().map(str::to_owned).collect());
        }
    }
    circles
}

/// A shortest way from `start` back to itself, by breadth.
fn way_back<'g>(edges: &'g BTreeMap<String, Vec<String>>, start: &'g str) -> Option<Vec<&'g str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut front = vec![start];
    while !front.is_empty() {
        let mut next_front = Vec::new();
        for here in front {
            for next in edges.get(here).into_iter().flatten().map(String::as_str) {
                if next == start {
                    let mut way = vec![here];
                    while let Some(before) = came_from.get(way[way.len() - 1]) {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(next) {
                    came_from.insert(next, here);
                    next_front.push(next);
                }
            }
        }
        front = next_front;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> BTreeMap<String, Vec<String>> {
        text.split(' ')
            .map(|line| line.split_once('>').expect("an arrow"))
            .map(|(from, to)| (from.to_owned(), to.split(',').filter(|to| !to.is_empty()).map(str::to_owned).collect()))
            .collect()
    }

    #[test]
    fn names_all_members_once() {
        assert_eq!(circles(&graph("a>b b>c c>a d>a")), [["a", "b", "c"]]);
        assert_eq!(circles(&graph("a>a")), [["a"]]);
        assert_eq!(circles(&graph("a>b b>a c>d d>c")), [["a", "b"], ["c", "d"]]);
        assert!(circles(&graph("a>b,c b>c c> d>a")).is_empty());
    }
}
