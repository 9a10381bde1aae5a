//! The list of what Callgrind counts; `scripts/instructions` runs it and compares with the baseline.

use std::hint::black_box;

use bumpalo::Bump;
use bytes::Bytes;
use floodway::model::GroupingKey;
use floodway::model::template::Syntax;
use floodway::plugin::relabel::Ruleset;
use floodway::render::coding::{Coder, Piece};
use gungraun::prelude::*;
use instructions::{bodies, parsing, relabelling, rendering, storing};

#[library_benchmark]
#[bench::one_sample(parsing::warm_text(bodies::text(1, 1), 1))]
#[bench::hundred_samples(parsing::warm_text(bodies::text(100, 1), 100))]
#[bench::ten_histograms(parsing::warm_text(bodies::histograms(), 10))]
#[bench::hundred_short_lines(parsing::warm_text(bodies::short_lines(), 100))]
fn parse(input: parsing::Input) -> parsing::Input {
    black_box(parsing::parse_text(black_box(input)))
}

#[library_benchmark]
#[bench::hundred_samples(parsing::warm_openmetrics())]
fn parse_openmetrics(input: parsing::Input) -> parsing::Input {
    black_box(parsing::parse_openmetrics(black_box(input)))
}

#[library_benchmark]
#[bench::hundred_samples(parsing::warm_protobuf())]
fn parse_protobuf(input: parsing::Input) -> parsing::Input {
    black_box(parsing::parse_protobuf(black_box(input)))
}

#[library_benchmark]
#[bench::one_sample(parsing::template(Syntax::Text, 1))]
#[bench::hundred_samples(parsing::template(Syntax::Text, 100))]
#[bench::hundred_samples_as_protobuf(parsing::template(Syntax::Protobuf, 100))]
fn known_shape(input: parsing::Fitting) -> parsing::Fitting {
    black_box(parsing::compare(black_box(input)))
}

#[library_benchmark]
fn path() -> GroupingKey {
    black_box(parsing::path())
}

#[library_benchmark]
#[bench::one_group(storing::filled(1))]
#[bench::thousand_groups(storing::filled(1000))]
fn push_known(input: storing::Input) -> storing::Input {
    black_box(storing::push_known(black_box(input)))
}

#[library_benchmark]
#[bench::one_group(storing::to_change(1))]
#[bench::thousand_groups(storing::to_change(1000))]
fn push_changed(input: storing::Input) -> storing::Input {
    black_box(storing::push_changed(black_box(input)))
}

#[library_benchmark]
#[bench::one_group(storing::to_refuse())]
fn refuse(input: storing::Input) -> storing::Input {
    black_box(storing::refuse(black_box(input)))
}

#[library_benchmark]
#[bench::three_rules(relabelling::rules())]
fn relabel(input: (Ruleset, Bump)) -> (Ruleset, Bump) {
    black_box(relabelling::relabel(black_box(input)))
}

#[library_benchmark]
#[bench::hundred_lines(rendering::group())]
fn render(input: rendering::Lines) -> rendering::Lines {
    black_box(rendering::render(black_box(input)))
}

#[library_benchmark]
#[bench::one_segment(rendering::segment())]
fn compress(input: (Coder, Vec<u8>)) -> (Coder, Vec<u8>) {
    black_box(rendering::compress(black_box(input)))
}

#[library_benchmark]
#[bench::thousand_segments(rendering::pieces())]
fn stitch(input: Vec<Piece>) -> (Vec<Piece>, Vec<Bytes>) {
    black_box(rendering::stitch(black_box(input)))
}

library_benchmark_group!(
    name = pushes,
    benchmarks = [
        parse,
        parse_openmetrics,
        parse_protobuf,
        known_shape,
        path,
        push_known,
        push_changed,
        refuse,
        relabel
    ]
);
library_benchmark_group!(name = scrapes, benchmarks = [render, compress, stitch]);
main!(library_benchmark_groups = pushes, scrapes);
