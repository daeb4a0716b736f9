package observe

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := &GroupOf[string, int]{Name: "users"}
		tiles := &ShardedOf[[2]int, []byte]{Name: "tiles"}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(Collector(users, tiles))

		users.Do("ada", func() (int, error) { time.Sleep(2 * time.Second); return 0, errFn })
		gate := make(chan struct{})
		go users.Do("secret", func() (int, error) { <-gate; return 1, nil })
		time.Sleep(1500 * time.Millisecond)
		users.DoChan("secret", never)
		end := abandon(t, users)
		users.DoChan("key", func() (int, error) { return 1, nil })
		ctx, cancel := context.WithCancel(t.Context())
		users.DoChanContext(ctx, "secret", func(context.Context) (int, error) { return never() })
		synctest.Wait()
		cancel()
		synctest.Wait()

		names := []string{
			"singleflight_calls_total", "singleflight_flights_total", "singleflight_left_total",
			"singleflight_outlived_total", "singleflight_refused_total", "singleflight_failures_total",
			"singleflight_in_flight", "singleflight_next", "singleflight_waiting", "singleflight_oldest_seconds",
		}
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP singleflight_calls_total Calls.
# TYPE singleflight_calls_total counter
singleflight_calls_total{group="tiles"} 0
singleflight_calls_total{group="users"} 6
# HELP singleflight_failures_total Flights that have failed, by how they ended.
# TYPE singleflight_failures_total counter
singleflight_failures_total{ending="abandoned",group="tiles"} 0
singleflight_failures_total{ending="abandoned",group="users"} 0
singleflight_failures_total{ending="error",group="tiles"} 0
singleflight_failures_total{ending="error",group="users"} 1
singleflight_failures_total{ending="goexit",group="tiles"} 0
singleflight_failures_total{ending="goexit",group="users"} 0
singleflight_failures_total{ending="panic",group="tiles"} 0
singleflight_failures_total{ending="panic",group="users"} 0
# HELP singleflight_flights_total Calls of functions.
# TYPE singleflight_flights_total counter
singleflight_flights_total{group="tiles"} 0
singleflight_flights_total{group="users"} 3
# HELP singleflight_in_flight Flights that have begun and not ended.
# TYPE singleflight_in_flight gauge
singleflight_in_flight{group="tiles"} 0
singleflight_in_flight{group="users"} 2
# HELP singleflight_left_total Calls that left because their context had ended.
# TYPE singleflight_left_total counter
singleflight_left_total{group="tiles"} 0
singleflight_left_total{group="users"} 2
# HELP singleflight_next Flights that wait for another to end.
# TYPE singleflight_next gauge
singleflight_next{group="tiles"} 0
singleflight_next{group="users"} 1
# HELP singleflight_oldest_seconds Time for which the oldest flight has lasted.
# TYPE singleflight_oldest_seconds gauge
singleflight_oldest_seconds{group="tiles"} 0
singleflight_oldest_seconds{group="users"} 1.5
# HELP singleflight_outlived_total Flights whose own call has left.
# TYPE singleflight_outlived_total counter
singleflight_outlived_total{group="tiles"} 0
singleflight_outlived_total{group="users"} 1
# HELP singleflight_refused_total Calls that would have waited for themselves.
# TYPE singleflight_refused_total counter
singleflight_refused_total{group="tiles"} 0
singleflight_refused_total{group="users"} 0
# HELP singleflight_waiting Calls that wait for a result.
# TYPE singleflight_waiting gauge
singleflight_waiting{group="tiles"} 0
singleflight_waiting{group="users"} 3
`), names...))
		count, err := testutil.GatherAndCount(registry, append(names, "singleflight_flight_duration_seconds")...)
		require.NoError(t, err)
		assert.Equal(t, 2*(len(names)+3+1), count)

		families, err := registry.Gather()
		require.NoError(t, err)
		assert.Len(t, families, len(names)+1, "all names are above")
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					assert.NotContains(t, label.GetValue(), "secret")
				}
			}
			if family.GetName() == "singleflight_flight_duration_seconds" {
				h := family.GetMetric()[1].GetHistogram()
				assert.Equal(t, uint64(1), h.GetSampleCount())
				assert.InDelta(t, 2, h.GetSampleSum(), 0)
			}
		}

		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		assert.Empty(t, problems)
		close(gate)
		close(end)
	})
}

// Groups may be registered one by one, but not two with one name.
func TestNamesOfGroups(t *testing.T) {
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(Collector(&Group{Name: "a"}, &Group{Name: "b"})))
	require.NoError(t, registry.Register(Collector(&Sharded{Name: "c"})))
	require.Error(t, registry.Register(Collector(&Group{Name: "a"})))
	for _, make := range []func(...Observed){
		func(groups ...Observed) { Collector(groups...) },
		func(groups ...Observed) { Handler(groups...) },
	} {
		assert.PanicsWithValue(t, `observe: two groups have the name "a"`, func() {
			make(&Group{Name: "a"}, &Sharded{Name: "a"})
		})
		assert.PanicsWithValue(t, "observe: group 1 is nil", func() { make(&Group{Name: "a"}, nil) })
		assert.PanicsWithValue(t, "observe: group 0 is nil", func() { make((*Group)(nil)) })
		assert.PanicsWithValue(t, "observe: group 0 is nil", func() { make((*Sharded)(nil)) })
	}
}
