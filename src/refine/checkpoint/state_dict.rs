//! Finds the network in what a pickle says: unwraps training checkpoints, walks whole modules, and locates every tensor
//! in its storage.
//!
//! Reads no values: it ends with names, storages, shapes and strides.

use super::damaged;
use super::elements::{DType, Element, Layout};
use super::tree::{Tree, Value, shown};
use super::{MAX_NAME, MAX_NAMES, MAX_TENSORS, within};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Keys under which training scripts keep the network; the first that holds a dict counts. The average over training
/// (`params_ema`) is what authors release results with, so it comes before `params`.
const WRAPPERS: [&str; 7] = ["model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net"];
/// How deep modules may nest.
const MAX_DEPTH: usize = 64;
/// The longest key of a storage, bytes; torch counts them, or takes addresses. Every tensor keeps a copy of its own.
const MAX_KEY: usize = 64;
/// Entries looked at in all; shared and self-containing modules count each time they are met.
const MAX_STEPS: usize = 500_000;
/// Calls around a tensor that are looked through (a parameter around a tensor).
const MAX_LAYERS: usize = 8;

/// A storage as a pickle refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StorageRef {
    pub(super) key: String,
    pub(super) element: Element,
    /// The number of values it holds.
    pub(super) count: usize,
}

/// A tensor that is to be read.
#[derive(Debug)]
pub(super) struct TensorRef {
    pub(super) storage: StorageRef,
    pub(super) dtype: DType,
    pub(super) layout: Layout,
}

/// The tensors of the network in the pickle, by name. Integer tensors are left out.
///
/// # Errors
/// `Kind::Input` where there is no network, a tensor is of a kind that is not read, or it reaches outside its storage.
pub(super) fn locate(tree: &Tree<'_>) -> Result<BTreeMap<String, TensorRef>> {
    let network = unwrapped(tree, tree.root);
    let mut walk = Walk { tree, found: BTreeMap::new(), steps: 0, names: 0 };
    if is_module(tree, network) {
        walk.module(network)?;
    } else {
        walk.tensors("", network)?;
    }
    if walk.found.is_empty() {
        return Err(no_tensors(tree, network));
    }
    Ok(walk.found)
}

/// The dict or module that holds the network, out of what training scripts wrap around it.
fn unwrapped(tree: &Tree<'_>, root: Value) -> Value {
    let holds_network = |value: &Value| tree.entries(*value).is_some() || is_module(tree, *value);
    let under_a_key = WRAPPERS.iter().find_map(|key| tree.get(root, key).filter(holds_network));
    let network = under_a_key.unwrap_or(root);
    let only = tree.entries(network).and_then(|mut entries| match (entries.next(), entries.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    });
    only.filter(holds_network).filter(|_| !is_module(tree, network)).unwrap_or(network)
}

/// Whether a value is a pickled `torch.nn` module: an object whose attributes name its parts.
fn is_module(tree: &Tree<'_>, value: Value) -> bool {
    tree.object(value).is_some_and(|object| {
        tree.get(object.state, "_modules").is_some() || tree.get(object.state, "_parameters").is_some()
    })
}

/// A module still to be walked: the prefix of its tensors, itself, and how deep it lies.
type Part = (String, Value, usize);

/// The search through modules, with what it has cost so far.
struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    found: BTreeMap<String, TensorRef>,
    steps: usize,
    /// Bytes of all names.
    names: usize,
}

impl Walk<'_, '_> {
    /// The tensors of a module and the modules in it, named as torch's `state_dict()` names them.
    fn module(&mut self, root: Value) -> Result<()> {
        let mut open: Vec<Part> = vec![(String::new(), root, 0)];
        while let Some((prefix, module, depth)) = open.pop() {
            let Some(object) = self.tree.object(module) else { continue };
            if depth > MAX_DEPTH {
                return Err(damaged(format!("its modules nest deeper than {MAX_DEPTH}, or contain themselves")));
            }
            for (key, attribute) in self.tree.entries(object.state).into_iter().flatten() {
                self.step()?;
                match self.tree.text(key) {
                    Some("_parameters" | "_buffers") => self.tensors(&prefix, attribute)?,
                    Some("_modules") => self.parts(&prefix, attribute, depth, &mut open)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Puts the modules of a dict among those still to be walked.
    fn parts(&mut self, prefix: &str, dict: Value, depth: usize, open: &mut Vec<Part>) -> Result<()> {
        for (key, part) in self.tree.entries(dict).into_iter().flatten() {
            self.step()?;
            if let Some(key) = self.tree.text(key) {
                open.push((self.name(prefix, key)? + ".", part, depth + 1));
            }
        }
        Ok(())
    }

    /// The tensors that are values of a dict; its other values are no part of a network.
    fn tensors(&mut self, prefix: &str, dict: Value) -> Result<()> {
        for (key, value) in self.tree.entries(dict).into_iter().flatten() {
            self.step()?;
            let Some(key) = self.tree.text(key) else { continue };
            let tensor = tensor(self.tree, value);
            let named = |e| within(format!("tensor '{}{}' cannot be read", shown(prefix), shown(key)), e);
            let Some(tensor) = tensor.map_err(named)? else { continue };
            let name = self.name(prefix, key)?;
            self.found.insert(name, tensor);
            if self.found.len() > MAX_TENSORS {
                return Err(damaged(format!("it has more than {MAX_TENSORS} tensors")));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(damaged(format!("its modules have more than {MAX_STEPS} entries, or contain themselves")));
        }
        Ok(())
    }

    fn name(&mut self, prefix: &str, key: &str) -> Result<String> {
        let length = prefix.len() + key.len();
        self.names += length;
        if length > MAX_NAME || self.names > MAX_NAMES {
            return Err(damaged(format!("a tensor's name of {length} bytes, or all names together, are too long")));
        }
        Ok(format!("{prefix}{key}"))
    }
}

/// The tensor a value stands for; `None` for values that are no tensor and for integer tensors.
fn tensor(tree: &Tree<'_>, mut value: Value) -> Result<Option<TensorRef>> {
    for _ in 0..MAX_LAYERS {
        let Some(object) = tree.object(value) else { return Ok(None) };
        let arguments = tree.arguments(object);
        match tree.global(object.callable) {
            Some(("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2")) => return rebuilt(tree, arguments),
            Some(("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"))
            | Some(("torch.nn.parameter" | "torch.nn", "Parameter")) => match arguments.first() {
                Some(&inner) => value = inner,
                None => return Ok(None),
            },
            Some(("torch._utils", name)) if name.starts_with("_rebuild_") => {
                return Err(damaged(format!("made by torch's {}, which is not read", shown(name))));
            }
            Some(("torch.storage", "_load_from_bytes")) => {
                return Err(damaged("its values are a pickle inside the pickle, which is not read"));
            }
            _ => return Ok(None),
        }
    }
    Err(damaged("parameters within parameters"))
}

/// `_rebuild_tensor(storage, offset, size, stride)`; the second version has more arguments, which do not matter here.
fn rebuilt(tree: &Tree<'_>, arguments: &[Value]) -> Result<Option<TensorRef>> {
    let &[storage, offset, size, strides, ..] = arguments else {
        return Err(damaged("storage, offset, size and strides are wanted"));
    };
    let Some(super::tree::Node::Persistent(id)) = tree.node(storage) else {
        return Err(damaged(format!("its storage is {}, which is not read", tree.describe(storage))));
    };
    let (storage, view_offset) = storage_ref(tree, *id)?;
    let Element::Real(dtype) = storage.element else { return Ok(None) };
    let offset = size_of(tree, offset)?.checked_add(view_offset).ok_or_else(|| damaged("its offset is too large"))?;
    let layout = Layout::new(offset, sizes(tree, size)?, sizes(tree, strides)?)?;
    layout.check_within(storage.count)?;
    Ok(Some(TensorRef { storage, dtype, layout }))
}

/// The storage behind `('storage', type, key, device, count[, view])` and where in it the view of it begins.
pub(super) fn storage_ref(tree: &Tree<'_>, id: Value) -> Result<(StorageRef, usize)> {
    let (class, key, count, view) = match tree.sequence(id) {
        Some(&[kind, class, key, _, count]) if tree.text(kind) == Some("storage") => (class, key, count, Value::None),
        Some(&[kind, class, key, _, count, view]) if tree.text(kind) == Some("storage") => (class, key, count, view),
        _ => return Err(damaged("a reference to a storage is malformed")),
    };
    let key = tree.text(key).filter(|key| key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| damaged("the key of a storage is not a short string"))?;
    let storage = StorageRef { key: key.to_owned(), element: element(tree, class)?, count: size_of(tree, count)? };
    let offset = match tree.sequence(view) {
        None => 0,
        Some(&[_, offset, length]) => {
            let (offset, length) = (size_of(tree, offset)?, size_of(tree, length)?);
            let inside = offset.checked_add(length).is_some_and(|end| end <= storage.count);
            if inside { offset } else { return Err(damaged("a view reaches outside its storage")) }
        }
        Some(_) => return Err(damaged("the view of a storage is malformed")),
    };
    Ok((storage, offset))
}

/// The element type that a storage class of torch stands for.
fn element(tree: &Tree<'_>, class: Value) -> Result<Element> {
    let element = match tree.global(class) {
        Some(("torch" | "torch.cuda", name)) => match name {
            "HalfStorage" => Some(Element::Real(DType::F16)),
            "BFloat16Storage" => Some(Element::Real(DType::BF16)),
            "FloatStorage" => Some(Element::Real(DType::F32)),
            "DoubleStorage" => Some(Element::Real(DType::F64)),
            "LongStorage" => Some(Element::Integer { size: 8 }),
            "IntStorage" => Some(Element::Integer { size: 4 }),
            "ShortStorage" => Some(Element::Integer { size: 2 }),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Some(Element::Integer { size: 1 }),
            _ => None,
        },
        _ => None,
    };
    element.ok_or_else(|| damaged(format!("storages of {} are not read", tree.qualified(class))))
}

/// The elements of a size or stride tuple.
fn sizes(tree: &Tree<'_>, tuple: Value) -> Result<Vec<usize>> {
    // Layout allows 8 axes; the ninth is enough to be told so, and a hostile tuple may be long.
    let tuple = match tree.sequence(tuple) {
        Some(tuple) => tuple,
        None => size_arguments(tree, tuple)?,
    };
    tuple.iter().take(9).map(|&n| size_of(tree, n)).collect()
}

/// The tuple inside `torch.Size((...))`.
fn size_arguments<'t>(tree: &'t Tree<'_>, value: Value) -> Result<&'t [Value]> {
    let malformed = || damaged("its shape is not a tuple of integers");
    let object = tree.object(value).filter(|object| tree.global(object.callable) == Some(("torch", "Size")));
    let arguments = tree.arguments(object.ok_or_else(malformed)?);
    arguments.first().and_then(|&tuple| tree.sequence(tuple)).ok_or_else(malformed)
}

fn size_of(tree: &Tree<'_>, value: Value) -> Result<usize> {
    let integer =
        tree.integer(value).ok_or_else(|| damaged(format!("{} where a size is wanted", tree.describe(value))))?;
    usize::try_from(integer).map_err(|_| damaged(format!("{integer} where a size is wanted")))
}

/// Says what was there instead of a network.
fn no_tensors(tree: &Tree<'_>, network: Value) -> Error {
    let keys: Vec<String> = tree
        .entries(network)
        .into_iter()
        .flatten()
        .take(8)
        .filter_map(|(key, value)| Some(format!("'{}' ({})", shown(tree.text(key)?), tree.describe(value))))
        .collect();
    let what = match keys.is_empty() {
        true => tree.describe(network),
        false => format!("a dict with {}", keys.join(", ")),
    };
    damaged(format!("it holds no network weights: {what}"))
        .hint(format!("save the state dict alone, or under one of the keys {}", WRAPPERS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::pickle;
    use super::*;

    /// A reference to storage 'k' with these last two elements.
    fn storage(class: &str, count_and_view: &[u8]) -> Result<(StorageRef, usize)> {
        let bytes = [&b"(U\x07storagec"[..], class.as_bytes(), b"\nU\x01kU\x03cpu", count_and_view, b"t."].concat();
        let (tree, _) = pickle::read(&bytes).expect("pickle");
        storage_ref(&tree, tree.root)
    }

    #[test]
    fn storages_have_type_size_and_view() {
        let half = StorageRef { key: "k".into(), element: Element::Real(DType::F16), count: 9 };
        assert_eq!(storage("torch\nHalfStorage", b"K\x09").expect("storage"), (half.clone(), 0), "five elements");
        assert_eq!(storage("torch\nHalfStorage", b"K\x09N").expect("storage"), (half.clone(), 0), "no view");
        let view = b"K\x09U\x01vK\x04K\x05\x87";
        assert_eq!(storage("torch.cuda\nHalfStorage", view).expect("view"), (half, 4), "a view from value 4");
        let counter = storage("torch\nLongStorage", b"K\x01").expect("counter").0;
        assert_eq!(counter.element, Element::Integer { size: 8 }, "an integer");
    }

    #[test]
    fn malformed_storages_are_refused() {
        let cases: [(&str, &[u8], &str); 4] = [
            ("torch\nQInt8Storage", b"K\x09", "torch.QInt8Storage"),
            ("torch\nFloatStorage", b"J\xff\xff\xff\xff", "-1 where a size"),
            ("torch\nFloatStorage", b"K\x09U\x01vK\x05K\x05\x87", "view reaches outside"),
            ("torch\nFloatStorage", b"K\x09NN", "malformed"),
        ];
        for (class, rest, word) in cases {
            let text = storage(class, rest).expect_err("refused").to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
