// Package otel gives the figures of observed groups to OpenTelemetry. They are those of
// [observe.Stats], under the names of [observe.Collector], as OpenTelemetry writes names:
// singleflight.calls for singleflight_calls_total. Its example is of traces: the spans of
// callers that wait link to the span of the call whose function ran.
package otel

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/actorflight/singleflight/observe"
)

// Register makes meter observe groups, until the registration ends. Each time that metrics
// are collected, it calls Stats of each group. All metrics have the attribute group, with the
// Name of the group. The counters:
//
//   - singleflight.calls, singleflight.flights, singleflight.left, singleflight.outlived,
//     singleflight.refused
//   - singleflight.failures, with the attribute ending: error, panic, goexit or abandoned
//   - singleflight.flight_duration, in seconds: of all flights together
//   - singleflight.flight_duration.bucket, with the attribute le: flights that have lasted
//     for so many seconds at most, or +Inf. OpenTelemetry has no histograms that are
//     observed; these are its buckets, and are to be read as those of Prometheus are.
//
// And the gauges: singleflight.in_flight, singleflight.next, singleflight.waiting, and
// singleflight.oldest, in seconds.
//
// Register fails if a group is nil, two have the same Name, or meter makes no instrument.
func Register(meter metric.Meter, groups ...observe.Observed) (metric.Registration, error) {
	observed, err := names(groups)
	if err != nil {
		return nil, err
	}
	i := instruments{meter: meter}
	i.counter("calls", "{call}", "Calls.", func(s *observe.Stats) uint64 { return s.Calls })
	i.counter("flights", "{flight}", "Calls of functions.", func(s *observe.Stats) uint64 { return s.Flights })
	i.counter("left", "{call}", "Calls that left because their context had ended.", func(s *observe.Stats) uint64 { return s.Left })
	i.counter("outlived", "{flight}", "Flights whose own call has left.", func(s *observe.Stats) uint64 { return s.Outlived })
	i.counter("refused", "{call}", "Calls that would have waited for themselves.", func(s *observe.Stats) uint64 { return s.Refused })
	i.failures()
	i.durations()
	i.gauge("in_flight", "{flight}", "Flights that have begun and not ended.", func(s *observe.Stats) int { return s.InFlight })
	i.gauge("next", "{flight}", "Flights that wait for another to end.", func(s *observe.Stats) int { return s.Next })
	i.gauge("waiting", "{call}", "Calls that wait for a result.", func(s *observe.Stats) int { return s.Callers })
	i.oldest()
	if i.err != nil {
		return nil, i.err
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, g := range observed {
			s := g.group.Stats()
			for _, observation := range i.observe {
				observation(o, &s, g.attribute)
			}
		}
		return nil
	}, i.all...)
}

// A named is a group and its attribute.
type named struct {
	group     observe.Observed
	attribute attribute.KeyValue
}

// names returns the groups with their attributes, or an error if they are not distinct.
func names(groups []observe.Observed) (all []named, err error) {
	seen := make(map[string]bool)
	for i, g := range groups {
		if g == nil || reflect.ValueOf(g).IsNil() {
			return nil, fmt.Errorf("observe/otel: group %d is nil", i)
		}
		name := g.Stats().Name
		if seen[name] {
			return nil, fmt.Errorf("observe/otel: two groups have the name %q", name)
		}
		seen[name] = true
		all = append(all, named{g, attribute.String("group", name)})
	}
	return all, nil
}

// instruments are what a meter has made, and how each is observed.
type instruments struct {
	meter   metric.Meter
	err     error // the errors so far
	all     []metric.Observable
	observe []func(o metric.Observer, s *observe.Stats, group attribute.KeyValue)
}

const prefix = "singleflight."

func (i *instruments) add(made metric.Observable, err error, observe func(metric.Observer, *observe.Stats, attribute.KeyValue)) {
	i.err = errors.Join(i.err, err)
	i.all = append(i.all, made)
	i.observe = append(i.observe, observe)
}

func (i *instruments) counter(name, unit, help string, value func(*observe.Stats) uint64) {
	c, err := i.meter.Int64ObservableCounter(prefix+name, metric.WithUnit(unit), metric.WithDescription(help))
	i.add(c, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		o.ObserveInt64(c, int64(value(s)), metric.WithAttributes(group))
	})
}

func (i *instruments) gauge(name, unit, help string, value func(*observe.Stats) int) {
	g, err := i.meter.Int64ObservableGauge(prefix+name, metric.WithUnit(unit), metric.WithDescription(help))
	i.add(g, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		o.ObserveInt64(g, int64(value(s)), metric.WithAttributes(group))
	})
}

func (i *instruments) oldest() {
	g, err := i.meter.Float64ObservableGauge(prefix+"oldest", metric.WithUnit("s"), metric.WithDescription("Time for which the oldest flight has lasted."))
	i.add(g, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		o.ObserveFloat64(g, s.Oldest.Seconds(), metric.WithAttributes(group))
	})
}

func (i *instruments) failures() {
	c, err := i.meter.Int64ObservableCounter(prefix+"failures", metric.WithUnit("{flight}"), metric.WithDescription("Flights that have failed, by how they ended."))
	i.add(c, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		for ending, n := range s.Failures.All() {
			o.ObserveInt64(c, int64(n), metric.WithAttributes(group, attribute.String("ending", ending)))
		}
	})
}

func (i *instruments) durations() {
	sum, err := i.meter.Float64ObservableCounter(prefix+"flight_duration", metric.WithUnit("s"), metric.WithDescription("Time for which functions have run."))
	i.add(sum, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		o.ObserveFloat64(sum, s.Durations.Sum.Seconds(), metric.WithAttributes(group))
	})
	buckets, err := i.meter.Int64ObservableCounter(prefix+"flight_duration.bucket", metric.WithUnit("{flight}"), metric.WithDescription("Flights that have lasted for le seconds at most."))
	i.add(buckets, err, func(o metric.Observer, s *observe.Stats, group attribute.KeyValue) {
		var count uint64
		for at, n := range s.Durations.Counts {
			count += n
			le := "+Inf"
			if at < len(s.Durations.Bounds) {
				le = strconv.FormatFloat(s.Durations.Bounds[at].Seconds(), 'g', -1, 64)
			}
			o.ObserveInt64(buckets, int64(count), metric.WithAttributes(group, attribute.String("le", le)))
		}
	})
}
