package natsflight

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{Stream: "S"}.check(1<<20, "host/1")
	require.NoError(t, err)
	assert.Equal(t, Config{
		Stream: "S", Replicas: 1, Lease: 10 * time.Second, ResultLife: time.Second,
		MaxFlight: math.MaxInt64, OnOutage: RunLocally, MaxResult: 1_044_480,
		Log: slog.Default(), Process: "host/1",
	}, c)
	again, err := c.check(1<<20, "host/2")
	require.NoError(t, err)
	assert.Equal(t, c, again)
}

func TestConfigBadValues(t *testing.T) {
	for _, c := range []struct {
		bad   Config
		names string
	}{
		{Config{}, "Stream"},
		{Config{Stream: "a b"}, "Stream"},
		{Config{Stream: "a.b"}, "Stream"},
		{Config{Stream: "S", Replicas: 2}, "Replicas"},
		{Config{Stream: "S", MaxBytes: 1 << 20}, "MaxBytes"},
		{Config{Stream: "S", MaxBytes: -1}, "MaxBytes"},
		{Config{Stream: "S", Lease: -time.Second}, "Lease"},
		{Config{Stream: "S", Lease: 500 * time.Millisecond}, "Lease"},
		{Config{Stream: "S", ResultLife: 1500 * time.Millisecond}, "ResultLife"},
		{Config{Stream: "S", MaxFlight: -time.Second}, "MaxFlight"},
		{Config{Stream: "S", OnOutage: 2}, "OnOutage"},
		{Config{Stream: "S", MaxResult: -1}, "MaxResult"},
		{Config{Stream: "S", MaxResult: 1<<20 - headroom + 1}, "MaxResult"},
		{Config{Stream: "S", Process: "a\nb"}, "Process"},
		{Config{Stream: "S", Process: strings.Repeat("x", 257)}, "Process"},
	} {
		_, err := c.bad.check(1<<20, "host/1")
		require.Error(t, err, "%+v", c.bad)
		assert.Equal(t, 1, strings.Count(err.Error(), ": it must be"), err)
		assert.Contains(t, err.Error(), "natsflight: bad Config: "+c.names+" is")
	}
}
