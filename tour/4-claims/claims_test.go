package claims

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// The answer has no room here, so the owner waits before it can do anything after it.
func TestOwnerAnswersAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		f := &flight{key: "key", answers: make(chan struct{})}
		a := g.claim()
		a.mailbox <- do{f}
		<-f.answers
		a.mailbox <- land{f}
		synctest.Wait()
		assert.Nil(t, g.current.Load())
		<-f.answers
	})
}

// While the owner waits, it handles no forget.
func TestForgetWaitsForItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		f := &flight{key: "key", answers: make(chan struct{})}
		a := g.claim()
		a.mailbox <- do{f}
		synctest.Wait()
		returned := make(chan struct{})
		go func() {
			g.Forget("key")
			close(returned)
		}()
		synctest.Wait()
		select {
		case <-returned:
			assert.Fail(t, "Forget returns")
		default:
		}
		<-f.answers
		<-returned
		a.mailbox <- land{f}
		<-f.answers
	})
}

// An activation that is over stays over, and a late caller puts the Group at rest.
func TestLateClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		late := &activation{group: &g}
		late.claims.Store(over)
		for range 3 {
			g.current.Store(late)
			g.Do("key", func() (any, error) {
				assert.NotSame(t, late, g.current.Load())
				return nil, nil
			})
			assert.Nil(t, g.current.Load())
		}
	})
}
