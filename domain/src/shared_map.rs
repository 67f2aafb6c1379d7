//! A map whose clones share what they have in common: a clone costs nothing, and a change of one
//! entry copies a few hundred bytes, however many entries there are.
//!
//! It is a tree over the bits of keys' hashes. Hashes are the same in every map, so that two maps
//! can be compared by their structure: parts that they share are not looked at.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

/// Bits of a hash for each level of the tree.
const BITS: u32 = 4;

/// Children of a branch.
const CHILDREN: usize = 1 << BITS;

/// How many entries a leaf has before it becomes a branch.
const LEAF: usize = 8;

/// Below this there are no bits left.
const DEEPEST: u32 = u64::BITS / BITS;

/// A map of which many versions are kept at little cost.
#[derive(Clone, Debug)]
pub(crate) struct SharedMap<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    Branch([Arc<Self>; CHILDREN]),
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

fn hash_of(key: &(impl Hash + ?Sized)) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

/// Which child of a branch at this depth has a key.
fn child(hash: u64, depth: u32) -> usize {
    ((hash >> (depth * BITS)) as usize) & (CHILDREN - 1)
}

impl<K, V> SharedMap<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        entries(&self.root)
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Hash + Eq, V> SharedMap<K, V> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.root.get(key, hash_of(key), 0)
    }

    /// The keys whose values are not the same in two maps, or that one of them does not have. What
    /// the maps share is not looked at.
    pub(crate) fn differing<'a>(
        &'a self,
        other: &'a Self,
        same: impl Fn(&V, &V) -> bool,
    ) -> Vec<&'a K> {
        let mut found = Vec::new();
        differing((&self.root, &other.root), 0, &same, &mut found);
        found
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    /// Sets a value, and gives the one before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash_of(&key);
        let before = insert(&mut self.root, hash, 0, (key, value));
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes an entry out.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // What is not there costs no copy.
        self.get(key)?;
        let removed = remove(&mut self.root, hash_of(key), 0, key);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

impl<K: Hash + Eq, V> Node<K, V> {
    fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q, hash: u64, depth: u32) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Branch(children) => children[child(hash, depth)].get(key, hash, depth + 1),
            Self::Leaf(entries) => {
                entries.iter().find(|(known, _)| key.eq(known.borrow())).map(|(_, value)| value)
            }
        }
    }
}

fn insert<K: Hash + Eq + Clone, V: Clone>(
    node: &mut Arc<Node<K, V>>,
    hash: u64,
    depth: u32,
    (key, value): (K, V),
) -> Option<V> {
    match Arc::make_mut(node) {
        Node::Branch(children) => {
            insert(&mut children[child(hash, depth)], hash, depth + 1, (key, value))
        }
        Node::Leaf(entries) => {
            if let Some((_, known)) = entries.iter_mut().find(|(known, _)| *known == key) {
                return Some(std::mem::replace(known, value));
            }
            entries.push((key, value));
            if entries.len() > LEAF && depth < DEEPEST {
                let mut children: [Vec<_>; CHILDREN] = Default::default();
                for entry in std::mem::take(entries) {
                    children[child(hash_of(&entry.0), depth)].push(entry);
                }
                *node = Arc::new(Node::Branch(children.map(|leaf| Arc::new(Node::Leaf(leaf)))));
            }
            None
        }
    }
}

fn remove<K: Hash + Eq + Clone + Borrow<Q>, V: Clone, Q: Eq + ?Sized>(
    node: &mut Arc<Node<K, V>>,
    hash: u64,
    depth: u32,
    key: &Q,
) -> Option<V> {
    match Arc::make_mut(node) {
        Node::Branch(children) => remove(&mut children[child(hash, depth)], hash, depth + 1, key),
        Node::Leaf(entries) => {
            let at = entries.iter().position(|(known, _)| key.eq(known.borrow()))?;
            Some(entries.swap_remove(at).1)
        }
    }
}

/// Two nodes that are compared.
type Pair<'a, K, V> = (&'a Arc<Node<K, V>>, &'a Arc<Node<K, V>>);

/// What differs between two nodes that have the same place in two trees.
fn differing<'a, K: Hash + Eq, V>(
    (one, other): Pair<'a, K, V>,
    depth: u32,
    same: &impl Fn(&V, &V) -> bool,
    found: &mut Vec<&'a K>,
) {
    if Arc::ptr_eq(one, other) {
        return;
    }
    if let (Node::Branch(ones), Node::Branch(others)) = (&**one, &**other) {
        for pair in ones.iter().zip(others) {
            differing(pair, depth + 1, same, found);
        }
        return;
    }
    for (key, value) in entries(one) {
        let elsewhere = other.get(key, hash_of(key), depth);
        if !elsewhere.is_some_and(|elsewhere| same(value, elsewhere)) {
            found.push(key);
        }
    }
    let is_new = |key: &K| one.get(key, hash_of(key), depth).is_none();
    found.extend(entries(other).map(|(key, _)| key).filter(|key| is_new(key)));
}

fn entries<K, V>(node: &Node<K, V>) -> Entries<'_, K, V> {
    Entries { branches: Vec::new(), next: Some(node), leaf: [].iter() }
}

/// The entries of a tree.
struct Entries<'a, K, V> {
    /// The children that are still to be visited, of each branch on the way.
    branches: Vec<std::slice::Iter<'a, Arc<Node<K, V>>>>,
    /// The node to visit next.
    next: Option<&'a Node<K, V>>,
    leaf: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Entries<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            match self.next.take() {
                Some(Node::Leaf(entries)) => self.leaf = entries.iter(),
                Some(Node::Branch(children)) => self.branches.push(children.iter()),
                None => match self.branches.last_mut()?.next() {
                    Some(child) => self.next = Some(&**child),
                    None => drop(self.branches.pop()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u8),
        Remove(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..400_u16, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            1 => (0..400_u16).prop_map(Step::Remove),
        ]
    }

    fn take(map: &mut SharedMap<u16, u8>, model: &mut HashMap<u16, u8>, step: &Step) {
        match *step {
            Step::Insert(key, value) => {
                assert_eq!(map.insert(key, value), model.insert(key, value));
            }
            Step::Remove(key) => assert_eq!(map.remove(&key), model.remove(&key)),
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            first in proptest::collection::vec(step(), 0..600), second in proptest::collection::vec(step(), 0..60),
        ) {
            let (mut map, mut model) = (SharedMap::default(), HashMap::new());
            first.iter().for_each(|step| take(&mut map, &mut model, step));
            let (before, model_before) = (map.clone(), model.clone());
            second.iter().for_each(|step| take(&mut map, &mut model, step));
            for (map, model) in [(&map, &model), (&before, &model_before)] {
                prop_assert_eq!(&map.iter().map(|(key, value)| (*key, *value)).collect::<HashMap<_, _>>(), model);
                prop_assert_eq!(map.iter().count(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                prop_assert!((0..400).all(|key| map.get(&key) == model.get(&key)));
            }
            let found: Vec<u16> = before.differing(&map, |one, other| one == other).into_iter().copied().collect();
            let differs = |key: &u16| model_before.get(key) != model.get(key);
            let expected: BTreeSet<u16> = (0..400).filter(differs).collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn a_change_copies_little() {
        let mut map = SharedMap::default();
        for i in 0..100_000_u32 {
            map.insert(i, Arc::new(i));
        }
        let before = map.clone();
        map.insert(7, Arc::new(8));
        let copied = map.iter().filter(|(_, value)| Arc::strong_count(value) > 1).count();
        assert!(copied <= LEAF, "{copied} entries were copied");
        assert_eq!(before.differing(&map, Arc::ptr_eq), [&7]);
    }

    /// Keys with one hash: only their equality tells them apart.
    #[test]
    fn a_hash_may_be_that_of_many() {
        #[derive(Clone, Debug, PartialEq, Eq)]
        struct Same(u8);
        impl Hash for Same {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }
        let mut map = SharedMap::default();
        (0..100).for_each(|i| assert_eq!(map.insert(Same(i), i), None));
        assert!((0..100).all(|i| map.get(&Same(i)) == Some(&i)));
        assert!((0..100).all(|i| map.remove(&Same(i)) == Some(i)));
        assert!(map.is_empty() && map.iter().next().is_none());
    }
}
