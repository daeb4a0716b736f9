package natsflight

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProcessIsDeadAfterTwoQuestions(t *testing.T) {
	f := startFleet(t)
	began := time.Now()
	state, err := f.b.engine.ask(t.Context(), record{leader: "no.such.process"}, askState)
	require.NoError(t, err)
	assert.Equal(t, dead, state)
	assert.GreaterOrEqual(t, time.Since(began), beat)
}

// The first question may reach a process that dies before it answers.
func TestProcessDiesWithTheQuestion(t *testing.T) {
	f := startFleet(t)
	nc := f.a.engine.js.Conn()
	questions := make(chan *nats.Msg, 10)
	dying, err := nc.ChanSubscribe("dying", questions)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	states := make(chan answer, 1)
	go func() {
		state, _ := f.b.engine.ask(t.Context(), record{id: "flight", leader: "dying"}, askState)
		states <- state
	}()
	assert.Equal(t, "state flight", string(receive(t, questions).Data))
	require.NoError(t, dying.Unsubscribe())
	assert.Equal(t, dead, receive(t, states))
}

func TestProcessThatDoesNotAnswerIsNotDead(t *testing.T) {
	f := startFleet(t)
	nc := f.a.engine.js.Conn()
	_, err := nc.SubscribeSync("mute")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	state, err := f.b.engine.ask(t.Context(), record{leader: "mute"}, askState)
	assert.Error(t, err)
	assert.Equal(t, noAnswer, state)
}
