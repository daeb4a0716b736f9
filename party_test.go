package singleflight

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file is about the rows of callers, and what fn's context keeps.

// rowsOf returns the rows of p. It requires that they are what their comments say.
func rowsOf[V any](t *testing.T, p *party[string, V]) (rows []*row[V]) {
	t.Helper()
	rows = slices.Clone(p.full)
	if p.row != nil {
		rows = append(rows, p.row)
	}
	callers := 0
	for _, r := range rows {
		require.Positive(t, r.callers)
		require.LessOrEqual(t, r.callers, rowSize)
		callers += r.callers
	}
	require.Equal(t, callers, p.inRows)
	for _, removed := range p.full[len(p.full):cap(p.full)] {
		require.Nil(t, removed, "the list keeps a row")
	}
	return rows
}

// join puts callers on p.
func join(p *party[string, any], callers int) (joined []*leaver[string, any]) {
	for range callers {
		joined = append(joined, &leaver[string, any]{party: p, row: p.join()})
	}
	return joined
}

func TestCallersLeaveTheirRows(t *testing.T) {
	for name, test := range map[string]struct {
		callers int
		stays   func(i int) bool
		rows    []int // how many callers stay in each
	}{
		"the only caller leaves":      {1, func(int) bool { return false }, nil},
		"one of two":                  {2, func(i int) bool { return i == 1 }, []int{1}},
		"one of a full row":           {rowSize, func(i int) bool { return i > 0 }, []int{rowSize - 1}},
		"all of a full row":           {rowSize, func(int) bool { return false }, nil},
		"the first of two rows":       {rowSize + 1, func(i int) bool { return i >= rowSize }, []int{1}},
		"the second of two rows":      {rowSize + 1, func(i int) bool { return i < rowSize }, []int{rowSize}},
		"both rows":                   {rowSize + 1, func(int) bool { return false }, nil},
		"the first of three rows":     {3 * rowSize, func(i int) bool { return i/rowSize != 0 }, []int{rowSize, rowSize}},
		"the second of three rows":    {3 * rowSize, func(i int) bool { return i/rowSize != 1 }, []int{rowSize, rowSize}},
		"the third of three rows":     {3 * rowSize, func(i int) bool { return i/rowSize != 2 }, []int{rowSize, rowSize}},
		"all but one of each row":     {3 * rowSize, func(i int) bool { return i%rowSize == i/rowSize }, []int{1, 1, 1}},
		"all three rows":              {3 * rowSize, func(int) bool { return false }, nil},
		"none":                        {rowSize + 1, func(int) bool { return true }, []int{rowSize, 1}},
		"one of the first of the two": {rowSize + 1, func(i int) bool { return i > 0 }, []int{rowSize - 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				p := newParty[string, any]("key", true)
				var leave, stay []*leaver[string, any]
				for i, l := range join(p, test.callers) {
					if test.stays(i) {
						stay = append(stay, l)
					} else {
						leave = append(leave, l)
					}
				}
				if reverse {
					slices.Reverse(leave)
				}
				for _, l := range leave {
					require.False(t, p.abandoned())
					p.leave(l)
				}
				assert.Equal(t, len(stay) == 0, p.abandoned())
				var callers []int
				for _, r := range rowsOf(t, p) {
					callers = append(callers, r.callers)
				}
				assert.Equal(t, test.rows, callers)

				stay = append(stay, join(p, rowSize)...)
				rowsOf(t, p)
				p.wake(&result[any]{val: 1})
				for _, l := range stay {
					<-l.row.landed
					require.Equal(t, 1, l.row.result.val)
				}
			}
		})
	}
}

// How many rows there are is bounded by the callers that are there at once.
func TestRowsDoNotAccumulate(t *testing.T) {
	p := newParty[string, any]("key", true)
	random := rand.New(rand.NewPCG(1, 2))
	stay := join(p, 3)
	for range 100 {
		come := append(join(p, random.IntN(4*rowSize)), stay...)
		random.Shuffle(len(come), func(i, j int) { come[i], come[j] = come[j], come[i] })
		stay = come[:3] // which may be in different rows
		for _, l := range come[3:] {
			p.leave(l)
		}
		require.LessOrEqual(t, len(rowsOf(t, p)), len(stay))
		require.LessOrEqual(t, cap(p.full), 16, "7 rows are full at most")
	}
}

// Many callers wait while few come and go.
func TestStuckFlightOfSeveralRowsDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		j := newJob()
		ctx, cancel := context.WithCancel(t.Context())
		var leave, stay []<-chan outcome
		for i := range 3 * rowSize {
			if i%rowSize == 0 {
				synctest.Wait() // so that each row has one that stays
				stay = append(stay, doContext(t.Context(), &g, j.run))
				synctest.Wait()
			} else {
				leave = append(leave, doContext(ctx, &g, j.run))
			}
		}
		p := partyOf[any](j.requireBegun(t))
		require.Len(t, rowsOf(t, p), 3)
		cancel()
		for _, ended := range leave {
			require.Equal(t, canceled, <-ended)
		}
		require.Len(t, rowsOf(t, p), 3)
		for range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			var come []<-chan outcome
			for range 2 * rowSize {
				come = append(come, doContext(ctx, &g, neverWith(t)))
			}
			requireWaiting(t, come...)
			require.LessOrEqual(t, len(rowsOf(t, p)), 5)
			cancel()
			for _, ended := range come {
				require.Equal(t, canceled, <-ended)
			}
			require.LessOrEqual(t, len(rowsOf(t, p)), 3)
		}
		j.end <- 1
		for _, ended := range stay {
			require.Equal(t, outcome{val: 1, shared: true}, <-ended)
		}
	})
}

// partyOf returns the party of the flight whose fn has got ctx.
func partyOf[V any](ctx context.Context) *party[string, V] {
	return ctx.Value(originKey{}).(origin[string, V]).party
}

// The result of fn may need its context. The context does not need the result, nor the
// callers, however many there were and whatever they have asked for.
func TestFnsContextKeepsNeitherResultNorCallers(t *testing.T) {
	type lead = func(context.Context, group[string, *blob], func(context.Context) (*blob, error))
	for name, lead := range map[string]lead{
		"DoContext": func(ctx context.Context, g group[string, *blob], fn func(context.Context) (*blob, error)) {
			go g.DoContext(ctx, "key", fn)
		},
		"DoChanContext": func(ctx context.Context, g group[string, *blob], fn func(context.Context) (*blob, error)) {
			g.DoChanContext(ctx, "key", fn)
		},
		"DoContext that never leaves": func(_ context.Context, g group[string, *blob], fn func(context.Context) (*blob, error)) {
			go g.DoContext(context.Background(), "key", fn)
		},
		"DoChanContext that never leaves": func(_ context.Context, g group[string, *blob], fn func(context.Context) (*blob, error)) {
			g.DoChanContext(context.Background(), "key", fn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutOwner(t, "other", func(t *testing.T, g group[string, *blob]) {
				for _, joiners := range []int{0, 1, rowSize + 1} {
					for _, leave := range []bool{false, true} {
						gate := make(chan struct{})
						var of context.Context
						var memory []weak.Pointer[blob]
						remember := func() *blob {
							b := new(blob)
							memory = append(memory, weak.Make(b))
							return b
						}
						ctx, cancel := context.WithCancel(t.Context())
						captured := remember()
						lead(ctx, g, func(ctx context.Context) (*blob, error) {
							of = ctx
							<-gate
							runtime.KeepAlive(captured)
							return remember(), nil
						})
						synctest.Wait()
						for range joiners {
							b := remember()
							joins := context.WithValue(ctx, contextKey{}, b)
							go g.DoContext(joins, "key", func(context.Context) (*blob, error) { return b, nil })
						}
						if !leave {
							g.DoChan("key", nilBlob)
						}
						synctest.Wait()
						p := partyOf[*blob](of)
						var rows []weak.Pointer[row[*blob]]
						for _, r := range rowsOf(t, p) {
							rows = append(rows, weak.Make(r))
						}
						if leave {
							cancel()
							synctest.Wait()
						}
						close(gate)
						synctest.Wait()
						runtime.GC()
						for _, p := range memory {
							require.Nil(t, p.Value())
						}
						for _, p := range rows {
							require.Nil(t, p.Value())
						}
						assert.Nil(t, p.channels)
						runtime.KeepAlive(of)
						cancel()
					}
				}
			})
		})
	}
}
