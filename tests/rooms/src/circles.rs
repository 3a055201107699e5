//! Files that use each other, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::arrows::Arrow;
use crate::source::FileId;

/// Files of which each comes to each other one by arrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    /// The files.
    pub files: BTreeSet<FileId>,
    /// A shortest way around.
    pub way: Vec<Arrow>,
}

/// All circles, each with all files that hang together.
#[must_use]
pub fn circles(arrows: &[Arrow]) -> Vec<Circle> {
    let mut from: BTreeMap<FileId, Vec<&Arrow>> = BTreeMap::new();
    for arrow in arrows {
        from.entry(arrow.from).or_default().push(arrow);
    }
    let reached: BTreeMap<FileId, BTreeSet<FileId>> = from
        .keys()
        .map(|file| (*file, reachable(*file, &from)))
        .collect();
    let reaches = |a: &FileId, b: &FileId| reached.get(a).is_some_and(|files| files.contains(b));
    let mut circles = Vec::new();
    let mut seen: BTreeSet<FileId> = BTreeSet::new();
    for file in from.keys() {
        if seen.contains(file) || !reaches(file, file) {
            continue;
        }
        let files: BTreeSet<FileId> = reached[file]
            .iter()
            .filter(|other| reaches(other, file))
            .copied()
            .collect();
        seen.extend(&files);
        let way = files
            .iter()
            .filter_map(|file| way_around(*file, &from))
            .min_by_key(Vec::len)
            .unwrap_or_default();
        circles.push(Circle { files, way });
    }
    circles
}

fn reachable(start: FileId, from: &BTreeMap<FileId, Vec<&Arrow>>) -> BTreeSet<FileId> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(file) = next.pop() {
        for arrow in from.get(&file).into_iter().flatten() {
            if reached.insert(arrow.to) {
                next.push(arrow.to);
            }
        }
    }
    reached
}

/// The shortest way from a file back to it.
fn way_around(start: FileId, from: &BTreeMap<FileId, Vec<&Arrow>>) -> Option<Vec<Arrow>> {
    let mut ways = VecDeque::from([(start, Vec::new())]);
    let mut seen = BTreeSet::new();
    while let Some((file, way)) = ways.pop_front() {
        for arrow in from.get(&file).into_iter().flatten() {
            let mut further: Vec<Arrow> = way.clone();
            further.push((*arrow).clone());
            if arrow.to == start {
                return Some(further);
            }
            if seen.insert(arrow.to) {
                ways.push_back((arrow.to, further));
            }
        }
    }
    None
}
