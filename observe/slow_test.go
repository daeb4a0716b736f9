package observe

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// onSlow runs test with each type of group, whose Slow is tell, after a second.
func onSlow(t *testing.T, test func(t *testing.T, g observed[string, int], told chan string)) {
	for name, group := range map[string]func(func(context.Context, string, time.Duration)) observed[string, int]{
		"GroupOf": func(tell func(context.Context, string, time.Duration)) observed[string, int] {
			return &GroupOf[string, int]{SlowAfter: time.Second, Slow: tell}
		},
		"ShardedOf": func(tell func(context.Context, string, time.Duration)) observed[string, int] {
			return &ShardedOf[string, int]{SlowAfter: time.Second, Slow: tell}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := make(chan string, 10)
				test(t, group(func(ctx context.Context, key string, age time.Duration) {
					whose, _ := ctx.Value(valueKey{}).(string)
					told <- key + " " + age.String() + " " + whose
				}), told)
			})
		})
	}
}

func TestSlowIsCalledOnce(t *testing.T) {
	onSlow(t, func(t *testing.T, g observed[string, int], told chan string) {
		ctx := context.WithValue(t.Context(), valueKey{}, "request 7")
		end := make(chan struct{})
		fn := func() (int, error) { <-end; return 1, nil }
		withContext := func(context.Context) (int, error) { return fn() }
		for _, call := range []struct {
			do   func()
			want string
		}{
			{func() { g.Do("key", fn) }, "key 1s "},
			{func() { <-g.DoChan("key", fn) }, "key 1s "},
			{func() { g.DoContext(ctx, "key", withContext) }, "key 1s request 7"},
			{func() { <-g.DoChanContext(ctx, "key", withContext) }, "key 1s request 7"},
			{func() { g.DoFresh(ctx, "key", withContext) }, "key 1s request 7"},
			{func() { <-g.DoChanFresh(ctx, "key", withContext) }, "key 1s request 7"},
		} {
			go call.do()
			synctest.Wait()
			g.DoChan("key", never)
			time.Sleep(time.Second - 1)
			assert.Empty(t, told, "not yet")
			time.Sleep(time.Minute)
			assert.Equal(t, call.want, <-told)
			assert.Empty(t, told, "once for the flight")
			end <- struct{}{}
			synctest.Wait()
		}
	})
}

// However the function ends, Slow is not called afterwards.
func TestSlowIsNotCalledInVain(t *testing.T) {
	onSlow(t, func(t *testing.T, g observed[string, int], told chan string) {
		for _, way := range ways {
			plain(func() { g.Do("key", way.fn) })
			plain(func() { g.DoContext(t.Context(), "other", func(context.Context) (int, error) { return way.fn() }) })
			time.Sleep(time.Minute)
		}
		plain(func() {
			g.Do("key", func() (int, error) { time.Sleep(time.Second - 1); runtime.Goexit(); return 0, nil })
		})
		time.Sleep(time.Minute)
		assert.Empty(t, told)
	})
}

// The time for which a fresh call waits is not that of its flight.
func TestSlowIsOfTheFlight(t *testing.T) {
	onSlow(t, func(t *testing.T, g observed[string, int], told chan string) {
		first := make(chan struct{})
		g.DoChan("key", func() (int, error) { <-first; return 1, nil })
		g.DoChanFresh(t.Context(), "key", func(context.Context) (int, error) { time.Sleep(time.Second / 2); return 2, nil })
		time.Sleep(time.Minute)
		assert.Equal(t, "key 1s ", <-told)
		close(first)
		time.Sleep(time.Minute)
		assert.Empty(t, told)
	})
}

func TestSlowNeedsBothFields(t *testing.T) {
	const message = "observe: SlowAfter and Slow must be set together"
	fn := func() (int, error) { return never() }
	withContext := func(context.Context) (int, error) { return never() }
	tell := func(context.Context, string, time.Duration) {}
	for _, g := range []observed[string, int]{
		&GroupOf[string, int]{SlowAfter: 1}, &GroupOf[string, int]{Slow: tell}, &GroupOf[string, int]{SlowAfter: -1, Slow: tell},
		&ShardedOf[string, int]{SlowAfter: 1}, &ShardedOf[string, int]{Slow: tell},
	} {
		assert.PanicsWithValue(t, message, func() { g.Do("key", fn) })
		assert.PanicsWithValue(t, message, func() { g.DoChan("key", fn) })
		assert.PanicsWithValue(t, message, func() { g.DoContext(t.Context(), "key", withContext) })
		assert.PanicsWithValue(t, message, func() { g.DoChanContext(t.Context(), "key", withContext) })
		assert.PanicsWithValue(t, message, func() { g.DoFresh(t.Context(), "key", withContext) })
		assert.PanicsWithValue(t, message, func() { g.DoChanFresh(t.Context(), "key", withContext) })
		assert.Zero(t, counted(g))
	}
}
