package natsflight

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A history is what happened to the keys, by a clock that all processes share.
type history struct {
	Runs  []run
	Calls []callOf
}

// A run is one run of an fn.
type run struct {
	Key        int64 // negative if the run may overlap others
	Begin, End int64
	Result     uint64 // no other run has it
}

// A callOf is one call that has returned a run's result.
type callOf struct {
	Begin, End int64
	Result     uint64
}

// overlaps counts the runs that began while another one of their key had not ended.
func (h *history) overlaps() (n int) {
	runs := slices.SortedFunc(slices.Values(h.Runs), func(a, b run) int { return cmp.Compare(a.Begin, b.Begin) })
	end := map[int64]int64{} // key -> the latest end
	for _, r := range runs {
		if e, ok := end[r.Key]; ok && r.Begin < e {
			n++
		}
		end[r.Key] = max(end[r.Key], r.End)
	}
	return n
}

// stale counts the calls that began after another call had returned their result.
func (h *history) stale() (n int) {
	first := map[uint64]int64{} // result -> when a call returned it first
	for _, c := range h.Calls {
		if end, ok := first[c.Result]; !ok || c.End < end {
			first[c.Result] = c.End
		}
	}
	for _, c := range h.Calls {
		if c.Begin > first[c.Result] {
			n++
		}
	}
	return n
}

func TestHistoryCountsWhatIsWrong(t *testing.T) {
	good := history{
		Runs: []run{{1, 20, 30, 2}, {2, 15, 25, 3}, {1, 0, 20, 1}}, // two keys, in any order
		Calls: []callOf{
			{0, 21, 1}, {20, 40, 1}, // the second began before the first returned
			{22, 31, 2}, {16, 26, 3},
		},
	}
	assert.Zero(t, good.overlaps())
	assert.Zero(t, good.stale())

	bad := good
	bad.Runs = append(slices.Clone(good.Runs), run{1, 19, 22, 4}, run{2, 16, 17, 5}, run{2, 24, 26, 6})
	assert.Equal(t, 4, bad.overlaps()) // the first makes a good one overlap, too
	bad.Calls = append(slices.Clone(good.Calls), callOf{22, 23, 1}, callOf{32, 50, 2})
	assert.Equal(t, 2, bad.stale())
}
