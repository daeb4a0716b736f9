package natsflight

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process asks another one about all flights that its calls wait for in one question, and
// not more often for many of them than for one.
func TestOneQuestionForAProcess(t *testing.T) {
	const keys, enough = 50, 20
	e := startServer(t)
	f := newFleet(t, e, Config{})
	spy, _ := connect(t, e.urls()...)
	g := newGate(t, "leader")
	var first, second []<-chan result
	for i := range keys {
		first = append(first, do(t.Context(), f.a, fmt.Sprint(i), g.fn))
	}
	for range keys {
		require.NotZero(t, receive(t, g.led))
	}
	for i := range keys {
		second = append(second, do(t.Context(), f.b, fmt.Sprint(i), returning("not called")))
	}
	eventually(t, "all wait", func() bool { return len(f.b.watches.InFlight()) == keys })

	questions := make(chan *nats.Msg, 100*keys)
	asked, err := spy.ChanSubscribe(f.a.inbox, questions)
	require.NoError(t, err)
	require.NoError(t, spy.Flush())
	began, largest := time.Now(), 0
	for range enough {
		largest = max(largest, strings.Count(string(receive(t, questions).Data), ",")+1)
	}
	assert.Greater(t, time.Since(began), (enough-1)*beat/2)
	assert.Equal(t, keys, largest, "flights in a question")
	require.NoError(t, asked.Unsubscribe())

	g.open()
	for i := range keys {
		assert.True(t, receive(t, first[i]).shared)
		assert.Regexp(t, "^leader", receive(t, second[i]).v)
	}
}

// A flight may have ended before a process subscribes to its end. The process does not wait
// until it has asked the leader in vain.
func TestEndBeforeTheSubscription(t *testing.T) {
	f := startFleet(t)
	r := record{kind: kindDo, id: "ended", leader: f.a.config.Stream + ".p.silent"}
	var asked atomic.Int32
	silent, err := f.nc.Subscribe(r.leader, func(*nats.Msg) { asked.Add(1) })
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, silent.Unsubscribe()) })
	end := r
	end.kind, end.data = kindValue, []byte("value")
	_, _, err = f.a.engine.publish(t.Context(), hashOf("key"), end, 0, time.Minute)
	require.NoError(t, err)
	got, err := f.b.watch(t.Context(), hashOf("key"), r)
	require.NoError(t, err)
	assert.Equal(t, "value", string(got.data))
	assert.Less(t, asked.Load(), int32(3), "questions, of which the last is asked after 0.45 s")
}

// Another stream may cover the subject of the questions, and JetStream then answers, too.
func TestAnswerOfAStream(t *testing.T) {
	f := startFleet(t)
	answers := []string{`{"stream":"other","seq":1}`, "flying,unknown"}
	inbox := f.a.config.Stream + ".p.covered"
	covered, err := f.nc.Subscribe(inbox, func(m *nats.Msg) {
		assert.NoError(t, m.Respond([]byte(answers[0])))
		answers = answers[1:]
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, covered.Unsubscribe()) })
	states, err := f.b.engine.askAll(t.Context(), inbox, askState, []string{"first", "second"})
	require.NoError(t, err)
	assert.Equal(t, []answer{flying, unknown}, states)
}
