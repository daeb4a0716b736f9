package workload

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// This file asks the runtime what the peers do not report.

// AwaitRest returns when all other goroutines are blocked.
func AwaitRest() {
	s := []metrics.Sample{
		{Name: "/sched/goroutines/running:goroutines"},
		{Name: "/sched/goroutines/runnable:goroutines"},
	}
	// The counts are approximate, so several in a row must agree.
	for quiet := 0; quiet < 3; {
		time.Sleep(time.Millisecond)
		metrics.Read(s)
		if s[0].Value.Uint64()+s[1].Value.Uint64() > 1 {
			quiet = 0
		} else {
			quiet++
		}
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	// The second collection frees what finalizers, cleanups and pools kept from the
	// first.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
