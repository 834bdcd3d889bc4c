//! A restricted reader of pickles, protocols 2 to 4 as torch writes them (and the text opcodes Python 2 mixes in).
//!
//! It builds a [`Tree`] and does nothing else: names of classes stay names, calls stay records of calls. Nothing is
//! imported or run, whatever the pickle asks for. Opcodes, stack, nesting and memory are limited, and every length is
//! checked against what is left of the input before anything is taken.
//!
//! Format: the opcode list of Python's `pickletools`.

use super::input::Input;
use super::tree::{Node, NodeId, Object, Tree, Value, shown};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::mem::size_of;

/// Opcodes; a tensor takes about a hundred.
const MAX_OPCODES: u64 = 4_000_000;
/// Values on the stack; Python writes containers in batches of a thousand.
const MAX_STACK: usize = 1 << 16;
/// Open marks, which is how deep containers may nest while they are written.
const MAX_MARKS: usize = 4096;
/// Bytes of containers and memo, counted before they grow; fifteen thousand tensors fit. Growth can double them.
const MAX_MEMORY: usize = 16 << 20;

/// What a pickle may come to, in words for a message.
const CLASS_REGISTRY: &str = "it refers to Python's registry of extensions";
const OUTSIDE_BUFFER: &str = "it refers to a buffer outside itself";

/// Reads the pickle that `bytes` begins with; also tells how many bytes it takes up.
///
/// # Errors
/// `Kind::Input` where it is cut short, malformed, beyond the limits, or asks for what no checkpoint needs.
pub(super) fn read(bytes: &[u8]) -> Result<(Tree<'_>, usize)> {
    let mut machine = Machine {
        input: Input::new(bytes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        nodes: Vec::new(),
        memory: 0,
    };
    for _ in 0..MAX_OPCODES {
        let opcode = machine.input.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok((Tree { input: machine.input.bytes(), nodes: machine.nodes, root }, machine.input.position()));
        }
        machine.step(opcode)?;
    }
    Err(machine.refuse(&format!("it has more than {MAX_OPCODES} opcodes")))
}

/// The stack machine that a pickle is written for.
struct Machine<'a> {
    input: Input<'a>,
    stack: Vec<Value>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    nodes: Vec<Node>,
    /// Bytes spent of [`MAX_MEMORY`].
    memory: usize,
}

impl<'a> Machine<'a> {
    /// Carries out one opcode; the table is Python's.
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => self.protocol(),
            0x95 => self.frame(),
            b'(' => self.mark(),
            b'0' => self.discard(),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.top().and_then(|top| self.push(top)),

            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.input.byte().and_then(|n| self.push(Value::Int(n.into()))),
            b'M' => self.input.array().and_then(|b| self.push(Value::Int(u16::from_le_bytes(b).into()))),
            b'J' => self.input.array().and_then(|b| self.push(Value::Int(i32::from_le_bytes(b).into()))),
            b'I' => self.text_integer(),
            b'L' => self.text_integer(),
            0x8a => self.input.length(1).and_then(|length| self.long(length)),
            0x8b => self.input.length(4).and_then(|length| self.long(length)),
            b'G' => self.input.array().and_then(|b| self.push(Value::Float(f64::from_be_bytes(b)))),
            b'F' => self.text_float(),

            b'U' | 0x8c => self.input.length(1).and_then(|length| self.string(length)),
            b'T' | b'X' => self.input.length(4).and_then(|length| self.string(length)),
            0x8d => self.input.length(8).and_then(|length| self.string(length)),
            b'C' => self.input.length(1).and_then(|length| self.binary(length)),
            b'B' => self.input.length(4).and_then(|length| self.binary(length)),
            0x8e | 0x96 => self.input.length(8).and_then(|length| self.binary(length)),

            b')' => self.node(Node::Tuple(Vec::new())),
            0x85 => self.short_tuple(1),
            0x86 => self.short_tuple(2),
            0x87 => self.short_tuple(3),
            b't' => self.pop_mark().and_then(|elements| self.elements(Node::Tuple, elements)),
            b']' | 0x8f => self.node(Node::List(Vec::new())),
            b'l' | 0x91 => self.pop_mark().and_then(|elements| self.elements(Node::List, elements)),
            b'a' => self.pop().and_then(|element| self.append(&[element])),
            b'e' | 0x90 => self.pop_mark().and_then(|elements| self.append(&elements)),
            b'}' => self.node(Node::Dict(Vec::new())),
            b'd' => self.dict(),
            b's' => self.set_item(),
            b'u' => self.pop_mark().and_then(|pairs| self.set_items(&pairs)),

            b'c' => self.global(),
            0x93 => self.stack_global(),
            b'R' | 0x81 => self.call(),
            0x92 => self.call_with_keywords(),
            b'b' => self.build(),
            b'Q' => self.persistent(),

            b'p' => self.text_index().and_then(|index| self.memoize(index)),
            b'q' => self.input.byte().and_then(|index| self.memoize(index.into())),
            b'r' => self.input.array().and_then(|b| self.memoize(u32::from_le_bytes(b))),
            0x94 => u32::try_from(self.memo.len()).map_err(|_| self.damage()).and_then(|index| self.memoize(index)),
            b'g' => self.text_index().and_then(|index| self.recall(index)),
            b'h' => self.input.byte().and_then(|index| self.recall(index.into())),
            b'j' => self.input.array().and_then(|b| self.recall(u32::from_le_bytes(b))),

            0x82..=0x84 => Err(self.refuse(CLASS_REGISTRY)),
            0x97 | 0x98 => Err(self.refuse(OUTSIDE_BUFFER)),
            _ => Err(self.refuse(&format!("opcode {opcode:#04x} is not one that torch writes"))),
        }
    }

    // Stack and memo.

    fn push(&mut self, value: Value) -> Result<()> {
        if self.stack.len() >= MAX_STACK {
            return Err(self.refuse(&format!("it stacks more than {MAX_STACK} values")));
        }
        self.stack.push(value);
        Ok(())
    }

    /// How far down the stack may be used: to the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value> {
        if self.stack.len() <= self.floor() {
            return Err(self.refuse("it takes a value that is not there"));
        }
        self.stack.pop().ok_or_else(|| self.damage())
    }

    fn top(&self) -> Result<Value> {
        let value = if self.stack.len() > self.floor() { self.stack.last() } else { None };
        value.copied().ok_or_else(|| self.refuse("it uses a value that is not there"))
    }

    /// POP: drops the top value, or the mark where that is on top.
    fn discard(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn mark(&mut self) -> Result<()> {
        if self.marks.len() >= MAX_MARKS {
            return Err(self.refuse(&format!("it nests more than {MAX_MARKS} containers")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Everything above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(|| self.refuse("it closes a container that was not opened"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn memoize(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        if !self.memo.contains_key(&index) {
            self.spend(size_of::<(u32, Value)>())?;
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let value = self.memo.get(&index).copied();
        let value = value.ok_or_else(|| self.refuse(&format!("it recalls entry {index}, which it never kept")))?;
        self.push(value)
    }

    /// Counts memory before it is allocated.
    fn spend(&mut self, bytes: usize) -> Result<()> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > MAX_MEMORY {
            return Err(self.refuse(&format!("its contents need more than {} MiB", MAX_MEMORY >> 20)));
        }
        Ok(())
    }

    // Scalars.

    fn protocol(&mut self) -> Result<()> {
        match self.input.byte()? {
            0..=5 => Ok(()),
            other => Err(self.refuse(&format!("pickle protocol {other} is unknown"))),
        }
    }

    /// Frames only help a reader to buffer; the length must still be there.
    fn frame(&mut self) -> Result<()> {
        self.input.length(8).map(drop)
    }

    fn text_integer(&mut self) -> Result<()> {
        let value = match self.input.line_text()? {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            line => {
                let integer = line.trim_end_matches('L').parse();
                Value::Int(integer.map_err(|_| self.refuse(&format!("'{}' is not an integer", shown(line))))?)
            }
        };
        self.push(value)
    }

    fn text_float(&mut self) -> Result<()> {
        let line = self.input.line_text()?;
        let value = line.parse().map_err(|_| self.refuse(&format!("'{}' is not a number", shown(line))))?;
        self.push(Value::Float(value))
    }

    fn text_index(&mut self) -> Result<u32> {
        let line = self.input.line_text()?;
        line.parse().map_err(|_| self.refuse(&format!("'{}' is not an entry of the memo", shown(line))))
    }

    /// A two's complement integer of `length` bytes, least first.
    fn long(&mut self, length: usize) -> Result<()> {
        let (span, bytes) = self.input.span_and_bytes(length)?;
        if length > size_of::<i64>() {
            return self.push(Value::Wide(span));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; size_of::<i64>()];
        wide[..length].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn string(&mut self, length: usize) -> Result<()> {
        let span = self.input.span(length)?;
        self.push(Value::Text(span))
    }

    fn binary(&mut self, length: usize) -> Result<()> {
        let span = self.input.span(length)?;
        self.push(Value::Bytes(span))
    }

    // Containers.

    fn node(&mut self, node: Node) -> Result<()> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| self.damage())?;
        self.spend(size_of::<Node>())?;
        self.nodes.push(node);
        self.push(Value::Node(NodeId(id)))
    }

    fn elements(&mut self, container: fn(Vec<Value>) -> Node, elements: Vec<Value>) -> Result<()> {
        self.spend(elements.len() * size_of::<Value>())?;
        self.node(container(elements))
    }

    fn short_tuple(&mut self, length: usize) -> Result<()> {
        if self.stack.len() < self.floor() + length {
            return Err(self.refuse("a tuple wants values that are not there"));
        }
        let elements = self.stack.split_off(self.stack.len() - length);
        self.elements(Node::Tuple, elements)
    }

    fn dict(&mut self) -> Result<()> {
        let pairs = self.pop_mark()?;
        self.node(Node::Dict(Vec::new()))?;
        self.set_items(&pairs)
    }

    /// The container or object on top of the stack.
    fn top_node(&mut self) -> Result<&mut Node> {
        let index = match self.top()? {
            Value::Node(NodeId(index)) => usize::try_from(index).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        if index >= self.nodes.len() {
            return Err(self.refuse("it changes a value that is not a container"));
        }
        Ok(&mut self.nodes[index])
    }

    /// Appends to a list. What is appended to an object of some other class is dropped: no state dict is made so.
    fn append(&mut self, elements: &[Value]) -> Result<()> {
        self.spend(size_of_val(elements))?;
        match self.top_node()? {
            Node::List(list) => list.extend_from_slice(elements),
            Node::Object(_) => {}
            _ => return Err(self.refuse("it appends to what is not a list")),
        }
        Ok(())
    }

    fn set_item(&mut self) -> Result<()> {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    fn set_items(&mut self, pairs: &[Value]) -> Result<()> {
        if !pairs.len().is_multiple_of(2) {
            return Err(self.refuse("a dict has a key without a value"));
        }
        self.spend(size_of_val(pairs))?;
        let items = match self.top_node()? {
            Node::Dict(items) => items,
            Node::Object(object) => &mut object.items,
            _ => return Err(self.refuse("it sets entries of what is not a dict")),
        };
        items.extend(pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    // Names and calls, kept as data.

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        self.node(Node::Global { module, name })
    }

    fn stack_global(&mut self) -> Result<()> {
        match (self.pop()?, self.pop()?) {
            (Value::Text(name), Value::Text(module)) => self.node(Node::Global { module, name }),
            _ => Err(self.refuse("the name of a class is not a string")),
        }
    }

    fn call(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        self.object(callable, arguments)
    }

    /// NEWOBJ_EX: as a call; the keyword arguments are of no use here.
    fn call_with_keywords(&mut self) -> Result<()> {
        self.pop()?;
        self.call()
    }

    fn object(&mut self, callable: Value, arguments: Value) -> Result<()> {
        self.spend(size_of::<Object>())?;
        self.node(Node::Object(Box::new(Object { callable, arguments, items: Vec::new(), state: Value::None })))
    }

    /// BUILD: gives an object its state. State for anything else has no meaning to us and is dropped.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        if let Node::Object(object) = self.top_node()? {
            object.state = state;
        }
        Ok(())
    }

    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        self.node(Node::Persistent(id))
    }

    fn refuse(&self, why: &str) -> Error {
        self.input.refuse(why)
    }

    fn damage(&self) -> Error {
        self.input.damage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_text(bytes: &[u8]) -> String {
        let (tree, end) = read(bytes).expect("pickle");
        assert_eq!(end, bytes.len(), "the whole pickle");
        tree.describe(tree.root)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn scalars_have_their_values() {
        let cases: [(&[u8], Value); 9] = [
            (b"\x80\x02K\x07.", Value::Int(7)),
            (b"M\x01\x02.", Value::Int(513)),
            (b"J\xff\xff\xff\xff.", Value::Int(-1)),
            (b"\x8a\x00.", Value::Int(0)),
            (b"\x8a\x01\xff.", Value::Int(-1)),
            (b"\x8a\x02\xff\x00.", Value::Int(255)),
            (b"I-12\n.", Value::Int(-12)),
            (b"L12L\n.", Value::Int(12)),
            (b"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5)),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(bytes).expect("pickle").0.root, value, "{bytes:?}");
        }
    }

    #[test]
    fn calls_stay_names() {
        assert_eq!(root_text(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."), "an object of os.system", "REDUCE");
        assert_eq!(root_text(b"\x80\x04\x8c\x02os\x8c\x06system\x93)\x81."), "an object of os.system", "NEWOBJ");
    }

    #[test]
    fn lengths_beyond_the_input_are_refused_before_anything_is_taken() {
        for opcode in [0x8d_u8, 0x8e, 0x96, 0x95] {
            let mut bytes = vec![opcode];
            bytes.extend([0xff; 8]);
            assert!(refusal(&bytes).contains("18446744073709551615 bytes"), "opcode {opcode:#x}");
        }
        for opcode in [b'T', b'X', b'B', 0x8b] {
            assert!(refusal(&[opcode, 0xff, 0xff, 0xff, 0xff]).contains("4294967295 bytes"), "opcode {opcode:#x}");
        }
    }

    #[test]
    fn bombs_are_stopped_by_the_limits() {
        assert!(refusal(&[b'('; 1_000_000]).contains("nests"), "marks");
        assert!(refusal(&[b'N'; 1_000_000]).contains("stacks"), "stack");
        let tuples: Vec<u8> = b"N".iter().copied().chain(std::iter::repeat_n(0x85, 3_000_000)).collect();
        assert!(refusal(&tuples).contains("MiB"), "deep tuples");
        let pairs: Vec<u8> = b"]".iter().copied().chain(b"N0".repeat(3_000_000)).collect();
        assert!(refusal(&pairs).contains("opcodes"), "opcodes");
        let mut memo = b"N".to_vec();
        (0..3_000_000_u32).for_each(|index| memo.extend([&b"r"[..], &index.to_le_bytes()].concat()));
        assert!(refusal(&memo).contains("MiB"), "memo");
    }

    #[test]
    fn a_doubling_tuple_is_shared_and_a_list_may_hold_itself() {
        let doubling: Vec<u8> = b"N".iter().copied().chain(b"2\x86".repeat(10_000)).chain([b'.']).collect();
        assert_eq!(root_text(&doubling), "a tuple", "2^10000 leaves, 10000 nodes");
        let (tree, _) = read(b"]q\x00h\x00a.").expect("self-containing list");
        assert_eq!(tree.sequence(tree.root), Some(&[tree.root][..]), "holds itself");
    }

    #[test]
    fn marks_protect_what_lies_below_them() {
        for bytes in [&b"N(a."[..], b"N(\x85.", b"N(q\x00.", b"N(.", b"t.", b"u.", b".", b"N}(Nu.", b"Nb.", b"h\x07."] {
            read(bytes).expect_err("refused");
        }
        assert_eq!(root_text(b"N(0."), "None", "POP takes a mark");
    }

    #[test]
    fn what_no_checkpoint_needs_is_refused_by_name() {
        assert!(refusal(b"\x82\x01").contains("registry"), "EXT1");
        assert!(refusal(b"\x97").contains("buffer"), "NEXT_BUFFER");
        assert!(refusal(b"\x80\x63").contains("protocol 99"), "protocol");
        assert!(refusal(b"\x00").contains("opcode 0x00"), "unknown opcode");
    }
}
