# make demo    set up, build, enlarge the sample, show before and after
# make test    set up, build, run every test
# The rest is for people who change the program: bench, doc, lint, samples, comparison, clean.

.PHONY: demo test setup build bench doc lint samples comparison clean
.DEFAULT_GOAL := demo

setup:
	@scripts/setup.sh

build: setup
	@cargo build --release --locked

demo: build
	@scripts/demo.sh

# The release profile, because the demo, the benchmarks and the tests that run the program then share one build of the
# dependencies, and because the tests are arithmetic on pictures, several times slower without optimisation.
test: setup
	@cargo test --release --locked

bench: setup
	@cargo bench --locked

doc: setup
	@RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps
	@echo "$${CARGO_TARGET_DIR:-target}/doc/subpel/index.html"

lint: setup
	@cargo fmt --check
	@cargo clippy --release --locked --all-targets -- -D warnings

samples: setup
	@cargo run --release --locked --quiet --example make_samples
	@cargo run --release --locked --quiet --example make_samples -- --damaged

comparison: setup
	@cargo run --release --locked --quiet --example comparison

clean:
	@cargo clean
	@rm -rf demo
