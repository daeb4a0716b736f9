package observe

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns a collector of metrics of groups, to be registered once: the figures of
// [Stats], which says what they are. Each metric has the label group, with the Name of the
// group; none has a key, as there may be any number of them. The counters:
//
//   - singleflight_calls_total
//   - singleflight_flights_total
//   - singleflight_left_total
//   - singleflight_outlived_total
//   - singleflight_refused_total
//   - singleflight_failures_total, with the label ending, which is error, panic, goexit or
//     abandoned
//
// The calls that were spared are calls - flights + outlived - left - refused.
//
// The histogram singleflight_flight_duration_seconds has Durations. And the gauges:
//
//   - singleflight_in_flight: InFlight.
//   - singleflight_next: Next.
//   - singleflight_waiting: Callers.
//   - singleflight_oldest_seconds: Oldest.
//
// Collector panics if a group is nil, or two have the same Name.
func Collector(groups ...Observed) prometheus.Collector {
	check(groups)
	var c collector
	for _, g := range groups {
		c = append(c, newCollected(g))
	}
	return c
}

type collector []collected

func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, g := range c {
		for _, m := range g.metrics {
			descs <- m.desc
		}
		descs <- g.failures
		descs <- g.duration
	}
}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	for _, g := range c {
		g.collect(metrics)
	}
}

// A collected is a group and its metrics.
type collected struct {
	group              Observed
	metrics            []metric
	failures, duration *prometheus.Desc
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Stats) float64
}

func newCollected(g Observed) collected {
	group := prometheus.Labels{"group": g.name()}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("singleflight_"+name, help, labels, group)
	}
	counter := func(name, help string, value func(*Stats) uint64) metric {
		return metric{desc(name, help), prometheus.CounterValue, func(s *Stats) float64 { return float64(value(s)) }}
	}
	gauge := func(name, help string, value func(*Stats) float64) metric {
		return metric{desc(name, help), prometheus.GaugeValue, value}
	}
	return collected{
		group: g,
		metrics: []metric{
			counter("calls_total", "Calls.", func(s *Stats) uint64 { return s.Calls }),
			counter("flights_total", "Calls of functions.", func(s *Stats) uint64 { return s.Flights }),
			counter("left_total", "Calls that left because their context had ended.", func(s *Stats) uint64 { return s.Left }),
			counter("outlived_total", "Flights whose own call has left.", func(s *Stats) uint64 { return s.Outlived }),
			counter("refused_total", "Calls that would have waited for themselves.", func(s *Stats) uint64 { return s.Refused }),
			gauge("in_flight", "Flights that have begun and not ended.", func(s *Stats) float64 { return float64(s.InFlight) }),
			gauge("next", "Flights that wait for another to end.", func(s *Stats) float64 { return float64(s.Next) }),
			gauge("waiting", "Calls that wait for a result.", func(s *Stats) float64 { return float64(s.Callers) }),
			gauge("oldest_seconds", "Time for which the oldest flight has lasted.", func(s *Stats) float64 { return s.Oldest.Seconds() }),
		},
		failures: desc("failures_total", "Flights that have failed, by how they ended.", "ending"),
		duration: desc("flight_duration_seconds", "Time for which functions have run."),
	}
}

func (c *collected) collect(metrics chan<- prometheus.Metric) {
	s := c.group.Stats()
	for _, m := range c.metrics {
		metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s))
	}
	for ending, n := range s.Failures.All() {
		metrics <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(n), ending)
	}
	buckets := make(map[float64]uint64, len(s.Durations.Bounds))
	var count uint64
	for i, bound := range s.Durations.Bounds {
		count += s.Durations.Counts[i]
		buckets[bound.Seconds()] = count
	}
	metrics <- prometheus.MustNewConstHistogram(c.duration, s.Durations.Count(), s.Durations.Sum.Seconds(), buckets)
}
