//! The files: small ones that are kept, and large ones that are made when they are wanted.
//!
//! `good` ones hold a network. Each of the others is wrong in the way its name says.

use crate::forge::{archive, dict, legacy, long, singles, tensor, text, tuple};

/// One input of a fuzz target, which is the folder that it lies in.
pub(crate) struct File {
    pub(crate) target: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

fn file(target: &str, name: &str, bytes: impl Into<Vec<u8>>) -> File {
    File { target: target.into(), name: name.into(), bytes: bytes.into() }
}

/// Layers of a tiny ESPCN for x2 and their shapes.
const ESPCN: [(&str, &[i64]); 6] = [
    ("conv1.weight", &[2, 1, 3, 3]),
    ("conv1.bias", &[2]),
    ("conv2.weight", &[2, 2, 1, 1]),
    ("conv2.bias", &[2]),
    ("conv3.weight", &[4, 2, 1, 1]),
    ("conv3.bias", &[4]),
];
/// All of its values.
const VALUES: usize = 18 + 2 + 4 + 2 + 8 + 4;

pub(crate) fn small() -> Vec<File> {
    [safetensors(), pickles(), archives(), ncnn()].into_iter().flatten().collect()
}

// safetensors.

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

fn safetensors() -> Vec<File> {
    let mut at = 0;
    let entries: Vec<String> = ESPCN
        .iter()
        .map(|(name, shape)| {
            let start = at;
            at += 4 * shape.iter().product::<i64>();
            entry(name, "F32", &format!("{shape:?}"), &format!("[{start},{at}]"))
        })
        .collect();
    let whole =
        with_header(&format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, entries.join(",")), &[0; 4 * VALUES]);
    let one = |dtype: &str, shape: &str, offsets: &str| {
        with_header(&format!("{{{}}}", entry("w", dtype, shape, offsets)), &[0; 16])
    };
    let two = |a: &str, b: &str| {
        let entries = [entry("a", "F32", "[2]", a), entry("b", "F32", "[2]", b)];
        with_header(&format!("{{{}}}", entries.join(",")), &[0; 16])
    };
    let make = |name: &str, bytes: Vec<u8>| file("safetensors", name, bytes);
    vec![
        make("cut_in_its_header", whole[..200].to_vec()),
        make("cut_in_its_values", whole[..whole.len() - 1].to_vec()),
        make("good", whole),
        make("header_of_2_to_63_bytes", [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        make("header_of_4_gb", [&u64::from(u32::MAX).to_le_bytes()[..], b"{}"].concat()),
        make("shape_beyond_counting", one("F32", "[4294967296,4294967296,4294967296]", "[0,16]")),
        make("shape_of_2_to_64", one("F32", "[18446744073709551616]", "[0,16]")),
        make("negative_shape", one("F32", "[-4]", "[0,16]")),
        make("values_outside", one("F32", "[4]", "[1048576,1048592]")),
        make("values_before_themselves", one("F32", "[4]", "[16,0]")),
        make("values_to_the_last_address", one("F32", "[4]", "[18446744073709551600,18446744073709551615]")),
        make("values_overlap", two("[0,8]", "[4,12]")),
        make("shape_and_values_differ", one("F32", "[5]", "[0,16]")),
        make("nine_axes", one("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]")),
        make("unknown_type", one("F8_E4M3", "[16]", "[0,16]")),
        make("listed_twice", two("[0,8]", "[8,16]").iter().map(|&b| if b == b'b' { b'a' } else { b }).collect()),
        make(
            "name_with_an_escape",
            with_header(r#"{"\u001b[2J":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, &[0; 16]),
        ),
        make("deep_metadata", with_header(&format!(r#"{{"__metadata__":{}1"#, "[".repeat(20_000)), &[])),
    ]
}

// Pickles, in the layout before zip.

/// The tensors of the tiny network, one after the other in one storage.
fn espcn() -> Vec<u8> {
    let mut at = 0;
    let entries: Vec<(&str, Vec<u8>)> = ESPCN
        .iter()
        .map(|&(name, shape)| {
            let start = at;
            at += shape.iter().product::<i64>();
            let strides: Vec<i64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
            (name, tensor(VALUES as i64, start, shape, &strides))
        })
        .collect();
    dict(&entries)
}

/// A file with one tensor over a storage that claims `count` values and has six.
fn one_tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    legacy(&dict(&[("w", tensor(count, offset, shape, strides))]), &[0.5; 6])
}

fn pickles() -> Vec<File> {
    let make = |name: &str, bytes: Vec<u8>| file("torch_legacy", name, bytes);
    let whole = legacy(&espcn(), &[0.25; VALUES]);
    let call = [&b"cos\nsystem\n"[..], &text("touch proof"), b"\x85R"].concat();
    let module =
        [&b"cnet\nNet\n)\x81q\x00"[..], &dict(&[("_modules", dict(&[("a", b"h\x00".to_vec())]))]), b"b"].concat();
    let repeated = |part: &[u8], times: usize| [&b"N"[..], &part.repeat(times)].concat();
    vec![
        make("cut_in_its_pickle", whole[..whole.len() / 3].to_vec()),
        make("cut_in_its_values", whole[..whole.len() - 3].to_vec()),
        make("good", whole),
        make(
            "good_in_a_wrapper",
            legacy(&dict(&[("epoch", b"K\x05".to_vec()), ("state_dict", espcn())]), &[0.25; VALUES]),
        ),
        make("os_system", legacy(&call, &[])),
        make("os_system_as_a_tensor", legacy(&dict(&[("conv1.weight", call.clone())]), &[])),
        make("os_system_on_the_side", legacy(&dict(&[("evil", call), ("w", tensor(6, 0, &[6], &[1]))]), &[0.0; 6])),
        make("eval_by_inst", legacy(b"(U\x011ibuiltins\neval\n", &[])),
        make("marks_without_end", legacy(&[b'('; 5000], &[])),
        make("stack_without_end", legacy(&[b'N'; 70_000], &[])),
        make("doubling_tuple", legacy(&repeated(b"2\x86", 2000), &[])),
        make("deep_tuple", legacy(&repeated(b"\x85", 5000), &[])),
        make("list_in_itself", legacy(b"]q\x00h\x00a", &[])),
        make("wrapper_in_itself", legacy(&[b"}q\x00", &text("state_dict")[..], b"h\x00s"].concat(), &[])),
        make("module_in_itself", legacy(&module, &[])),
        make("memo_of_4_billion", legacy(b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff", &[])),
        make("long1_of_255", legacy(b"\x8a\xff", &[])),
        make("long4_of_2_gb", legacy(b"\x8b\xff\xff\xff\x7f", &[])),
        make("long4_negative", legacy(b"\x8b\xff\xff\xff\xff", &[])),
        make("string_of_4_gb", legacy(b"X\xff\xff\xff\xff", &[])),
        make("string_of_2_to_64", legacy(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", &[])),
        make("frame_of_2_to_63", legacy(b"\x95\0\0\0\0\0\0\0\x80", &[])),
        make("extension_registry", legacy(b"\x82\x01", &[])),
        make("storage_of_2_to_60", one_tensor(1 << 60, 0, &[2], &[1])),
        make("storage_of_minus_1", one_tensor(-1, 0, &[2], &[1])),
        make("offset_outside", one_tensor(6, i64::MAX, &[2], &[i64::MAX])),
        make("offset_negative", one_tensor(6, -1, &[2], &[1])),
        make("stride_negative", one_tensor(6, 5, &[2], &[-1])),
        make("shape_outside", one_tensor(6, 3, &[2, 2], &[2, 1])),
        make("shape_beyond_counting", one_tensor(6, 0, &[1 << 40, 1 << 40], &[0, 0])),
        make("one_value_a_billion_times", one_tensor(6, 0, &[1 << 30], &[0])),
        make("thirty_axes", one_tensor(6, 0, &[1; 30], &[1; 30])),
        make("number_of_1000_digits", legacy(&[&b"I"[..], &[b'9'; 1000], b"\n"].concat(), &[])),
    ]
}

// Archives.

fn archives() -> Vec<File> {
    let make = |name: &str, bytes: Vec<u8>| file("torch_zip", name, bytes);
    let pickle = |network: &[u8]| [network, b"."].concat();
    let values = singles(&[0.25; VALUES]);
    let with = |network: &[u8], content: &[u8], deflate| {
        archive(&[
            ("a/data.pkl", &pickle(network), deflate),
            ("a/byteorder", b"little", false),
            ("a/data/0", content, deflate),
        ])
    };
    let whole = with(&espcn(), &values, false);
    let one = |count: i64| dict(&[("w", tensor(count, 0, &[3], &[1]))]);
    let patched = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        let place = bytes.windows(from.len()).rposition(|window| window == from).expect("it is there");
        bytes[place..place + to.len()].copy_from_slice(to);
        bytes
    };
    let end = b"PK\x05\x06\0\0\0\0";
    let central = b"PK\x01\x02";
    vec![
        make("cut_in_half", whole[..whole.len() / 2].to_vec()),
        make("without_directory", whole[..whole.len() - 22].to_vec()),
        make("good_deflated", with(&espcn(), &values, true)),
        make("sixty_five_thousand_entries", patched(end, b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff")),
        make("directory_outside", patched(end, b"PK\x05\x06\0\0\0\0\x03\0\x03\0\xff\xff\xff\x7f\xff\xff\xff\x7f")),
        make(
            "entry_of_4_gb",
            patched(central, b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xfe\xff\xff\xff\xfe"),
        ),
        make("good", whole),
        make("storage_too_short", with(&one(4), &values[..12], true)),
        make("storage_of_2_to_60", with(&one(1 << 60), &values, true)),
        make("storage_of_2_to_63", with(&one(i64::MAX), &values, true)),
        make("storage_is_missing", archive(&[("a/data.pkl", &pickle(&one(3)), false)])),
        make("bomb_of_64_mib", with(&one(16 << 20), &vec![0; 64 << 20], true)),
        make("bomb_as_pickle", archive(&[("a/data.pkl", &vec![b'N'; 9 << 20], true)])),
        make("os_system", archive(&[("a/data.pkl", b"cos\nsystem\nU\x02ls\x85R.", false)])),
        make("torchscript", archive(&[("a/data.pkl", &pickle(&one(3)), false), ("a/constants.pkl", b"N.", false)])),
        make("path_upwards", archive(&[("../../data.pkl", b"N.", false), ("../../data/0", b"", false)])),
        make(
            "byte_order_of_a_megabyte",
            archive(&[("a/data.pkl", &pickle(&one(3)), false), ("a/byteorder", &vec![b'x'; 1 << 20], true)]),
        ),
    ]
}

// ncnn: the layers, a zero byte, the weights.

const PARAM: &str = "7767517\n5 5\nInput in 0 1 data\nConvolution a 1 1 data x 0=2 1=3 4=1 5=1 6=54\nPReLU p 1 1 x y 0=2\n\
                     Convolution b 1 1 y z 0=12 1=1 4=0 5=0 6=24\nPixelShuffle s 1 1 z out 0=2\n";

fn pair(param: &str, bin: &[u8]) -> Vec<u8> {
    [param.as_bytes(), &[0], bin].concat()
}

fn ncnn() -> Vec<File> {
    let make = |name: &str, bytes: Vec<u8>| file("ncnn", name, bytes);
    let bin = vec![0; 4 * (1 + 54 + 2 + 2 + 1 + 24)];
    let with = |from: &str, to: &str| {
        assert!(PARAM.contains(from), "{from}");
        pair(&PARAM.replace(from, to), &bin)
    };
    vec![
        make("good", pair(PARAM, &bin)),
        make(
            "good_halves",
            pair(PARAM, &[&[0x47, 0x6b, 0x30, 0x01][..], &[0; 108 + 16], &[0x47, 0x6b, 0x30, 0x01], &[0; 48]].concat()),
        ),
        make("cut_in_its_weights", pair(PARAM, &bin[..100])),
        make("without_weights", pair(PARAM, &[])),
        make("layers_2_to_31", with("5 5", "2147483648 5")),
        make("layers_negative", with("5 5", "-1 -1")),
        make("layers_2_to_64", with("5 5", "18446744073709551616 5")),
        make("weights_2_to_63", with("6=54", "6=9223372036854775807")),
        make("weights_negative", with("6=54", "6=-54")),
        make("outputs_2_to_31", with("0=2 1=3", "0=2147483648 1=2147483647")),
        make("outputs_none", with("0=2 1=3", "0=0 1=3")),
        make("kernel_2_to_62", with("1=3 4=1", "1=4611686018427387904 4=1")),
        make("slopes_2_to_62", with("y 0=2", "y 0=4611686018427387904")),
        make("blobs_2_to_64", with("p 1 1", "p 18446744073709551615 18446744073709551615")),
        make("eight_bit", pair(PARAM, &[&[0x38, 0x4b, 0x0d, 0][..], &bin[4..]].concat())),
        make("unknown_layer", with("PixelShuffle", "Deconvolution")),
        make("name_with_an_escape", with("PReLU p", "Evil\u{1b}[2J p")),
    ]
}

// Large files, each just within a limit or just beyond it.

pub(crate) fn large() -> Vec<File> {
    [bombs(), many_tensors(), few_names_for_much()].into_iter().flatten().collect()
}

/// A pickle of `times` the same part.
fn repeated(start: &[u8], part: &[u8], times: usize) -> Vec<u8> {
    legacy(&[start, &part.repeat(times)].concat(), &[])
}

fn bombs() -> Vec<File> {
    let make = |name: &str, bytes: Vec<u8>| file("torch_legacy", name, bytes);
    let memo: Vec<u8> = (0..3_000_000_u32).flat_map(|n| [&b"r"[..], &n.to_le_bytes()].concat()).collect();
    let numbers = |count: usize| [&b"("[..], &b"N".repeat(count), b"l0"].concat();
    vec![
        make("marks", repeated(b"", b"(", 1_000_000)),
        make("deep_tuples", repeated(b"N", b"\x85", 3_000_000)),
        make("empty_containers", repeated(b"", b"]0", 1_900_000)),
        make("lists_of_one", repeated(b"", b"]Na0", 900_000)),
        make("dicts_of_one", repeated(b"", b"}NNs0", 700_000)),
        make("objects_of_one", repeated(b"", b"NN\x81NNs0", 600_000)),
        make("a_long_list", repeated(b"]", &[&b"("[..], &b"N".repeat(1000), b"e"].concat(), 3000)),
        make("long_lists", repeated(b"", &numbers(60_000), 60)),
        make("memo", legacy(&[&b"N"[..], &memo].concat(), &[])),
        make("opcodes", repeated(b"", b"N0", 3_000_000)),
    ]
}

/// Many names for one tensor, whose storage has a long key.
fn many_tensors() -> Vec<File> {
    let make = |count: usize, key: usize| {
        let storage = [
            &b"("[..],
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text(&"k".repeat(key)),
            &text("cpu"),
            &long(6),
            b"NtQ",
        ];
        let shape = tuple(&[1; 8]);
        let rebuilt = [
            &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
            &storage.concat(),
            &long(0),
            &shape,
            &shape,
            b"\x89}tRr\0\0\0\x010",
        ];
        let names: Vec<u8> =
            (0..count).flat_map(|n| [&b"("[..], &text(&format!("{n:x}")), b"j\0\0\0\x01u"].concat()).collect();
        let file = legacy(&[&rebuilt.concat(), &b"}"[..], &names].concat(), &[0.0; 6]);
        let (from, to) = (text("0"), text(&"k".repeat(key)));
        let place =
            file.windows(from.len() + 2).rposition(|window| window == [&from[..], b"e."].concat()).expect("its key");
        [&file[..place], &to, &file[place + from.len()..]].concat()
    };
    let mut files = Vec::new();
    for (count, key) in [(15_000, 60), (19_999, 64), (99_000, 60), (15_000, 500), (99_000, 500), (200_000, 1)] {
        files.push(file("torch_legacy", &format!("{count}_tensors_of_a_key_of_{key}"), make(count, key)));
    }
    files
}

/// As many empty tensors as a header of four million bytes, or the reader, takes: those of shapes first, then those of names.
fn header(shapes: &[(&str, &str)], names: impl Iterator<Item = String>) -> Vec<u8> {
    let first = shapes.iter().map(|(name, shape)| entry(name, "F32", shape, "[0,0]"));
    let more = names.map(|name| entry(&name, "F32", "[0]", "[0,0]"));
    let mut length = 0;
    let fits = |entry: &String| {
        length += entry.len() + 1;
        length < 4_190_000
    };
    let all: Vec<String> = first.chain(more).take(19_999).take_while(fits).collect();
    with_header(&format!("{{{}}}", all.join(",")), &[])
}

/// Names that announce far more layers than there are, each in the way of one architecture.
fn few_names_for_much() -> Vec<File> {
    let make = |name: &str, bytes: Vec<u8>| file("safetensors", name, bytes);
    let each = |before: &'static str, after: &'static str| (0..).map(move |n| format!("{before}{n}{after}"));
    let rgb = "[3,3,3,0]";
    let rcan = each("body.", ".body.0.body.0.weight").take(9000).chain(each("body.0.body.", ".body.0.weight").skip(1));
    let beyond = each("", "").take(99_000).map(|name| entry(&name, "F32", "[0]", "[0,0]")).collect::<Vec<_>>();
    let long = entry("w", "F32", &format!("[1{}]", ",1".repeat(2_097_000 - 60)), "[0,0]");
    vec![
        make(
            "rrdb_blocks",
            header(&[("conv_first.weight", rgb), ("conv_last.weight", rgb)], each("body.", ".rdb1.conv1.weight")),
        ),
        make(
            "rrdb_first_blocks",
            header(&[("model.0.weight", rgb), ("model.10.weight", rgb)], each("model.1.sub.", ".RDB1.conv1.0.weight")),
        ),
        make(
            "edsr_blocks",
            header(&[("head.0.weight", rgb), ("body.0.body.2.weight", rgb)], each("body.", ".body.0.weight")),
        ),
        make(
            "edsr_basicsr_blocks",
            header(&[("conv_after_body.weight", rgb), ("upsample.0.weight", rgb)], each("body.", ".conv1.weight")),
        ),
        make("rcan_groups_and_blocks", header(&[("head.0.weight", rgb)], rcan)),
        make(
            "srgan_blocks",
            header(
                &[("block1.0.weight", rgb), ("block2.bn1.running_var", "[0]")],
                each("block", ".conv1.weight").skip(2),
            ),
        ),
        make(
            "vdsr_layers",
            header(&[("input.weight", rgb), ("output.weight", rgb)], each("residual_layer.", ".conv.weight")),
        ),
        make(
            "fsrcnn_layers",
            header(&[("last.bias", "[1,0]"), ("prelu1.weight", rgb)], each("conv", ".weight").skip(1)),
        ),
        make(
            "compact_layers",
            header(&[("body.0.weight", rgb), ("body.1.weight", "[0]")], each("body.", ".weight").skip(2)),
        ),
        make("names_alone", header(&[], each("", ""))),
        make("more_names_than_are_read", with_header(&format!("{{{}}}", beyond.join(",")), &[])),
        make("a_long_shape", with_header(&format!("{{{long}}}"), &[])),
        shared_compact(),
        shared_espcn(),
    ]
}

/// A network of three million weights, all of them one value of the file.
fn shared_espcn() -> File {
    let wide = |shape: &[i64]| tensor(6, 0, shape, &vec![0; shape.len()]);
    let network = dict(&[
        ("conv1.weight", wide(&[1024, 1, 1, 1])),
        ("conv2.weight", wide(&[1024, 1024, 1, 3])),
        ("conv3.weight", wide(&[4, 1024, 1, 1])),
    ]);
    file("torch_legacy", "good_one_value_for_a_network", legacy(&network, &[0.5; 6]))
}

/// Convolutions that follow from nothing, each without its slopes.
fn shared_compact() -> File {
    let wide = |shape: &[i64]| tensor(6, 0, shape, &vec![0; shape.len()]);
    let names: Vec<String> = (0..1000).map(|n| format!("body.{}.weight", 2 * n)).collect();
    let mut entries = vec![("body.1.weight", wide(&[4096]))];
    for (n, name) in names.iter().enumerate() {
        entries.push((name, wide(&[4096, if n == 0 { 3 } else { 1 }, 1, 1])));
    }
    file("torch_legacy", "slopes_that_are_not_there", legacy(&dict(&entries), &[0.5; 6]))
}
