package observe

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector returns a collector of metrics of groups, to be registered once. Each has the
// label group, with the Name of the group; none has a key, as there may be any number of
// them. The counters, since the group was made:
//
//   - singleflight_flights_total: how often fn was called.
//   - singleflight_joined_total: calls that were spared: they got the outcome of another
//     call's fn, be it a value, an error, a panic or a Goexit. They count when they get it,
//     but calls of DoChan when they have joined.
//   - singleflight_left_total: calls that left, because their context had ended. A call
//     whose context was done before it was made is among them.
//   - singleflight_outlived_total: flights that run the fn of a call that has left.
//   - singleflight_refused_total: calls that returned [singleflight.ErrDeadlock].
//   - singleflight_failures_total: flights that have failed, by the label ending: error,
//     if fn returned one; panic; goexit; and abandoned, whatever fn did, if its context had
//     ended when it returned, because all callers had left.
//
// They are exact: when nothing is in flight, the calls that were made are
//
//	flights - outlived + joined + left + refused
//
// Calls that panic because fn is nil or the key cannot be hashed are not counted. While
// something is in flight, calls that have not returned may be missing, as may calls of
// DoChan while a flight waits for another to end, and at the moment when flights begin or
// end.
//
//   - singleflight_flight_duration_seconds: a histogram of how long fn has run, for the
//     flights that have ended. It does not include the time for which a call waits, as a
//     fresh one does, until its flight begins.
//
// And the gauges:
//
//   - singleflight_in_flight: flights, with the forgotten and the abandoned, but
//     without those that wait for another to end.
//   - singleflight_waiting: calls that wait for a result, leaders included.
//   - singleflight_oldest_seconds: how long the oldest flight's fn has run; 0 if none runs.
//
// Collector panics if two groups have the same Name.
func Collector(groups ...Observed) prometheus.Collector {
	var c collector
	seen := make(map[string]bool)
	for _, g := range groups {
		name := g.name()
		if seen[name] {
			panic(fmt.Sprintf("observe: two groups have the name %q", name))
		}
		seen[name] = true
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
	value func(report) float64
}

func newCollected(g Observed) collected {
	group := prometheus.Labels{"group": g.name()}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("singleflight_"+name, help, labels, group)
	}
	counter := func(name, help string, value func(reading) uint64) metric {
		return metric{desc(name, help), prometheus.CounterValue, func(r report) float64 { return float64(value(r.reading)) }}
	}
	gauge := func(name, help string, value func(report) float64) metric {
		return metric{desc(name, help), prometheus.GaugeValue, value}
	}
	return collected{
		group: g,
		metrics: []metric{
			counter("flights_total", "Calls of functions.", func(r reading) uint64 { return r.Flights }),
			counter("joined_total", "Calls that got what the function of another call made.", func(r reading) uint64 { return r.Joined }),
			counter("left_total", "Calls that left because their context had ended.", func(r reading) uint64 { return r.Left }),
			counter("outlived_total", "Flights whose own call has left.", func(r reading) uint64 { return r.Outlived }),
			counter("refused_total", "Calls that would have waited for themselves.", func(r reading) uint64 { return r.Refused }),
			gauge("in_flight", "Flights that have begun and not ended.", func(r report) float64 { return float64(r.InFlight) }),
			gauge("waiting", "Calls that wait for a result.", func(r report) float64 { return float64(r.Waiting) }),
			gauge("oldest_seconds", "Time for which the oldest flight has lasted.", func(r report) float64 { return time.Duration(r.Oldest).Seconds() }),
		},
		failures: desc("failures_total", "Flights that have failed, by how they ended.", "ending"),
		duration: desc("flight_duration_seconds", "Time for which functions have run."),
	}
}

func (c *collected) collect(metrics chan<- prometheus.Metric) {
	r := c.group.report(0)
	for _, m := range c.metrics {
		metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(r))
	}
	for e, n := range r.Failures {
		metrics <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(n), ending(e).String())
	}
	count, buckets := r.histogram()
	metrics <- prometheus.MustNewConstHistogram(c.duration, count, r.duration.Seconds(), buckets)
}

// histogram returns how many flights have ended, and how many of them within each bound.
func (r *reading) histogram() (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(bounds))
	for i, bound := range bounds {
		count += r.buckets[i]
		buckets[bound.Seconds()] = count
	}
	return count + r.buckets[len(bounds)], buckets
}
