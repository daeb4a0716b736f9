package natsflight

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
)

type report struct {
	Title string
	Rows  []int
}

// Callers of a flight get the same value, and none gets another's memory.
func TestTypedValues(t *testing.T) {
	f := startFleet(t)
	a, b := Of[report](f.a, nil), Of[report](f.b, nil)
	want := report{"sales", []int{1, 2, 3}}
	type got struct {
		r      report
		err    error
		shared bool
	}
	began, unblock := make(chan struct{}), make(chan struct{})
	fn := func(context.Context, uint64) (report, error) {
		close(began)
		<-unblock
		return want, nil
	}
	call := func(g *GroupOf[report]) <-chan got {
		c := make(chan got, 1)
		go func() {
			r, err, shared := g.Do(t.Context(), "key", fn)
			c <- got{r, err, shared}
		}()
		return c
	}
	first := call(a)
	receive(t, began)
	second := awaitPings(t, f.nc, func() <-chan got { return call(b) })
	close(unblock)
	x, y := receive(t, first), receive(t, second)
	assert.Equal(t, got{want, nil, true}, x)
	assert.Equal(t, got{want, nil, true}, y)
	x.r.Rows[0] = 100
	assert.Equal(t, 1, y.r.Rows[0])
	assert.NoError(t, a.Forget(t.Context(), "key"))
}

func TestCodecFails(t *testing.T) {
	g := startFleet(t).a
	_, err, _ := Of[func()](g, nil).Do(t.Context(), "key", func(context.Context, uint64) (func(), error) {
		return func() {}, nil
	})
	assert.ErrorContains(t, err, "json: unsupported type")
	_, err, _ = Of(g, badDecoder{}).Do(t.Context(), "key", func(context.Context, uint64) (int, error) { return 1, nil })
	assert.ErrorContains(t, err, "cannot unmarshal")
	assert.PanicsWithValue(t, "natsflight: nil fn", func() { Of[int](g, nil).Do(t.Context(), "key", nil) })
}

type badDecoder struct{ JSON[int] }

func (badDecoder) Encode(int) ([]byte, error) { return []byte(`"one"`), nil }
