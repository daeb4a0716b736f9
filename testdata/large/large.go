// Package large does not compile: its values are too large for a channel.
package large

import "github.com/actorflight/singleflight"

var Group singleflight.GroupOf[string, [1 << 16]byte]
