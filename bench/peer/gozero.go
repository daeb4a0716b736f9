package peer

import "github.com/zeromicro/go-zero/core/syncx"

func newGoZero() Group { return syncx.NewSingleFlight() }
