package natsflight

import (
	"fmt"
	"strings"
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
