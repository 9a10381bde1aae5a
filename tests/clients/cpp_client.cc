// Pushes the shared registry with prometheus-cpp: cpp_client HOST PORT STEP
//
// Its Push is a POST and its PushAdd a PUT, so that the steps "push" and "add" call the other one.
#include <prometheus/counter.h>
#include <prometheus/gateway.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <iostream>
#include <memory>
#include <string>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string step = argv[3];
  prometheus::Gateway gateway{argv[1], argv[2], "cpp"};
  auto registry = std::make_shared<prometheus::Registry>();
  gateway.RegisterCollectable(registry);
  int status;
  if (step == "push") {
    prometheus::BuildCounter().Name("jobs_total").Help("Jobs done.").Register(*registry)
        .Add({{"kind", "a b"}}).Increment(3);
    prometheus::BuildGauge().Name("load").Help("How busy.").Register(*registry).Add({}).Set(0.5);
    auto& latency = prometheus::BuildHistogram().Name("latency_seconds").Help("How long.")
        .Register(*registry).Add({}, prometheus::Histogram::BucketBoundaries{0.5, 1});
    for (double seconds : {0.25, 0.75, 2.0}) latency.Observe(seconds);
    status = gateway.PushAdd();
  } else if (step == "add") {
    prometheus::BuildGauge().Name("added").Help("Added later.").Register(*registry).Add({}).Set(7);
    status = gateway.Push();
  } else {
    status = gateway.Delete();
  }
  std::cerr << "status " << status << "\n";
  return status == 200 || (step == "delete" && status == 202) ? 0 : 1;
}
