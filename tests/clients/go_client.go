// Pushes the shared registry with client_golang: go_client URL STEP [text]
package main

import (
	"log"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	"github.com/prometheus/common/expfmt"
)

func main() {
	url, step := os.Args[1], os.Args[2]
	pusher := push.New(url, "go").Grouping("instance", "i").Grouping("path", "/var/tmp")
	if len(os.Args) > 3 {
		pusher = pusher.Format(expfmt.NewFormat(expfmt.TypeTextPlain))
	}
	var err error
	switch step {
	case "push":
		jobs := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jobs_total", Help: "Jobs done."}, []string{"kind"})
		jobs.WithLabelValues("a b").Add(3)
		load := prometheus.NewGauge(prometheus.GaugeOpts{Name: "load", Help: "How busy."})
		load.Set(0.5)
		latency := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "latency_seconds", Help: "How long.", Buckets: []float64{0.5, 1},
		})
		for _, seconds := range []float64{0.25, 0.75, 2} {
			latency.Observe(seconds)
		}
		err = pusher.Collector(jobs).Collector(load).Collector(latency).Push()
	case "add":
		added := prometheus.NewGauge(prometheus.GaugeOpts{Name: "added", Help: "Added later."})
		added.Set(7)
		err = pusher.Collector(added).Add()
	default:
		err = pusher.Delete()
	}
	if err != nil {
		log.Fatal(err)
	}
}
