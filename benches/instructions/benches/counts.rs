//! The list of what Callgrind counts; `scripts/instructions` runs it and compares with the baseline.

use std::hint::black_box;

use floodway::model::template::Template;
use floodway::model::{Families, GroupingKey};
use floodway::store::Store;
use gungraun::prelude::*;

#[library_benchmark]
#[bench::one_sample(instructions::warm(1))]
#[bench::hundred_samples(instructions::warm(100))]
fn parse(input: (Families<'static>, String)) -> (Families<'static>, String) {
    black_box(instructions::parse(black_box(input)))
}

#[library_benchmark]
#[bench::one_sample(instructions::template(1))]
#[bench::hundred_samples(instructions::template(100))]
fn known_shape(input: (Template, String)) -> (Template, String) {
    black_box(instructions::compare(black_box(input)))
}

#[library_benchmark]
#[bench::one_group(instructions::store(1))]
#[bench::thousand_groups(instructions::store(1000))]
fn push_known(input: (Store, GroupingKey, String)) -> Store {
    black_box(instructions::push_known(black_box(input)))
}

#[library_benchmark]
#[bench::one_group(instructions::store(1))]
#[bench::thousand_groups(instructions::store(1000))]
fn push_changed(input: (Store, GroupingKey, String)) -> Store {
    black_box(instructions::push_changed(black_box(input)))
}

#[library_benchmark]
fn path() -> usize {
    black_box(instructions::path())
}

library_benchmark_group!(name = pushes, benchmarks = [parse, known_shape, push_known, push_changed, path]);
main!(library_benchmark_groups = pushes);
