package otel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/actorflight/singleflight/observe"
	"github.com/actorflight/singleflight/observe/otel"
)

// collect returns all values, by the name of the metric, the group and other attributes.
func collect(t *testing.T, reader sdk.Reader) (values map[string]float64, units map[string]string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	values, units = make(map[string]float64), make(map[string]string)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			units[m.Name] = m.Unit
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				assert.True(t, data.IsMonotonic, m.Name)
				addPoints(values, m.Name, data.DataPoints)
			case metricdata.Sum[float64]:
				assert.True(t, data.IsMonotonic, m.Name)
				addPoints(values, m.Name, data.DataPoints)
			case metricdata.Gauge[int64]:
				addPoints(values, m.Name, data.DataPoints)
			case metricdata.Gauge[float64]:
				addPoints(values, m.Name, data.DataPoints)
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	return values, units
}

func addPoints[N int64 | float64](values map[string]float64, name string, points []metricdata.DataPoint[N]) {
	for _, p := range points {
		key := name
		for _, attribute := range p.Attributes.ToSlice() {
			key += " " + string(attribute.Key) + "=" + attribute.Value.AsString()
		}
		values[key] = float64(p.Value)
	}
}

func TestRegister(t *testing.T) { synctest.Test(t, testRegister) }

func testRegister(t *testing.T) {
	users := &observe.GroupOf[string, int]{Name: "users"}
	tiles := &observe.Sharded{Name: "tiles"}
	reader := sdk.NewManualReader()
	registration, err := otel.Register(sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test"), users, tiles)
	require.NoError(t, err)

	users.Do("ada", func() (int, error) { return 0, errors.New("fn failed") })
	ended, end := context.WithCancel(t.Context())
	end()
	users.DoContext(ended, "ada", func(context.Context) (int, error) { return 0, nil })
	users.DoContext(t.Context(), "ada", func(ctx context.Context) (int, error) {
		_, err, _ := users.DoContext(ctx, "ada", func(context.Context) (int, error) { return 0, nil })
		return 0, err
	})
	gate := make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	began := make(chan struct{})
	left := users.DoChanContext(ctx, "bob", func(context.Context) (int, error) { close(began); <-gate; return 1, nil })
	<-began
	leave()
	<-left
	next := users.DoChan("bob", func() (int, error) { return 1, nil })

	time.Sleep(time.Second) // Register has looked, and a list lasts so long
	values, units := collect(t, reader)
	stats := users.Stats()
	for name, want := range map[string]float64{
		"singleflight.calls group=users":                            6,
		"singleflight.flights group=users":                          3,
		"singleflight.left group=users":                             2,
		"singleflight.outlived group=users":                         1,
		"singleflight.refused group=users":                          1,
		"singleflight.failures ending=error group=users":            2,
		"singleflight.failures ending=panic group=users":            0,
		"singleflight.failures ending=goexit group=users":           0,
		"singleflight.failures ending=abandoned group=users":        0,
		"singleflight.in_flight group=users":                        1,
		"singleflight.next group=users":                             1,
		"singleflight.waiting group=users":                          1,
		"singleflight.oldest group=users":                           1,
		"singleflight.flight_duration group=users":                  stats.Durations.Sum.Seconds(),
		"singleflight.flight_duration.bucket group=users le=+Inf":   2,
		"singleflight.flight_duration.bucket group=users le=300":    2,
		"singleflight.calls group=tiles":                            0,
		"singleflight.flight_duration.bucket group=tiles le=0.0001": 0,
	} {
		got, ok := values[name]
		assert.True(t, ok, "%s is missing", name)
		assert.InDelta(t, want, got, 0, name)
	}
	assert.Equal(t, map[string]string{
		"singleflight.calls": "{call}", "singleflight.flights": "{flight}", "singleflight.left": "{call}",
		"singleflight.outlived": "{flight}", "singleflight.refused": "{call}", "singleflight.failures": "{flight}",
		"singleflight.in_flight": "{flight}", "singleflight.next": "{flight}", "singleflight.waiting": "{call}",
		"singleflight.oldest": "s", "singleflight.flight_duration": "s", "singleflight.flight_duration.bucket": "{flight}",
	}, units)
	assert.Len(t, values, 2*(10+4+len(stats.Durations.Counts)))

	close(gate)
	<-next
	require.NoError(t, registration.Unregister())
	values, _ = collect(t, reader)
	assert.Empty(t, values)
}

func TestRegisterRefuses(t *testing.T) {
	meter := sdk.NewMeterProvider().Meter("test")
	for want, groups := range map[string][]observe.Observed{
		`observe/otel: two groups have the name "a"`: {&observe.Group{Name: "a"}, &observe.Sharded{Name: "a"}},
		"observe/otel: group 1 is nil":               {&observe.Group{Name: "a"}, nil},
		"observe/otel: group 0 is nil":               {(*observe.Group)(nil)},
	} {
		_, err := otel.Register(meter, groups...)
		assert.EqualError(t, err, want)
	}
	_, err := otel.Register(broken{}, &observe.Group{})
	assert.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("no instruments")

// A broken meter makes one kind of instrument only.
type broken struct{ noop.Meter }

func (broken) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errBroken
}
