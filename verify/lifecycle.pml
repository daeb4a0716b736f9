/*
 * The life cycle of package actor, and the protocol of messages.go on top of it.
 * README.md says which line here is which line there.
 *
 * What the callers do is chosen by the numbers below. All orders in which it can
 * happen are searched.
 */

#ifndef DOS
#define DOS 3                /* callers that make one Do, with either key */
#endif
#ifndef FORGETS
#define FORGETS 0            /* callers that make one Forget or ForgetUnshared, with either key */
#endif
#ifndef MIXED
#define MIXED 0              /* callers (at most 1) that make a DoChan, a Forget and a Do, all with key 0 */
#endif
#define CALLS   (3 * MIXED + DOS + FORGETS)
#define CALLERS (MIXED + DOS + FORGETS)
#define KEYS  2
#define ROOM  1              /* in a mailbox: the less there is, the more must wait */
#define NONE  255
#define OVER  -1

mtype = { do_, done_, forget_, forgetUnshared_ };

/* Address: what it shows. The entry of call c, who is alone, is c; that of
 * activation a is CALLS + a. */
byte current = NONE;
byte left[CALLS] = NONE;     /* in an entry, by whoever is alone: its flight */

/* Activation, one per call at most */
typedef Activation {
	short claims;        /* made, or OVER */
	byte released;
	byte found;          /* the entry whose left the owner finds */
	bool adopted;        /* it has */
	byte byKey[KEYS] = NONE;
};
Activation act[CALLS];
byte acts;                   /* how many have begun */
chan mailbox[CALLS] = [ROOM] of { mtype, byte };

/* call, and the flight in it */
typedef Call {
	byte key;
	bool doChan;
	bool leads;          /* joined is nil when do is answered */
	byte flight = NONE;  /* what it led or joined */
	byte waiters;        /* of its flight, a bit each */
	bool joined;         /* its flight was joined */
	bool forgotten;      /* its flight was */
	bool unshared;       /* by ForgetUnshared */
	bool running;        /* fn */
	byte due;            /* turns that it waits for, now or next */
	bool delivered;      /* its channel has received */
};
Call call[CALLS];
chan turn[CALLS] = [2] of { bit };
chan results[CALLS] = [1] of { bit };

/* What must hold. */
byte alive;                  /* activations: never two */
byte runningFor[KEYS];       /* flights that were not forgotten: never two */
byte returned;               /* callers */

inline give(c) {             /* the turn: to a call that waits for it, and once */
	atomic { assert(call[c].due > 0); call[c].due--; turn[c]!0 }
}

inline deliver(c) {          /* the result, to the channel of a DoChan */
	atomic { assert(!call[c].delivered); call[c].delivered = true; results[c]!0 }
}

inline clear(e) {            /* CompareAndSwap(e, nil) */
	atomic { if :: current == e -> current = NONE :: else fi }
}

/* Claim: a is NONE if the address is at rest. */
inline claim(a) {
	do
	:: e = current;
	   if
	   :: e == NONE -> a = NONE; break
	   :: e != NONE && e >= CALLS ->
		atomic {
			if
			:: act[e - CALLS].claims == OVER -> over = true
			:: else -> act[e - CALLS].claims++; over = false
			fi
		};
		if
		:: over -> clear(e)
		:: else -> a = e - CALLS; break
		fi
	   :: e < CALLS ->
		atomic {
			if
			:: current == e ->
				assert(alive == 0);
				alive++;
				a = acts; acts++;
				act[a].claims = 2; act[a].found = e;
				current = CALLS + a; begins = true
			:: else -> begins = false
			fi
		};
#ifndef LATE_GO
		if :: begins -> run owner(a); begins = false; break :: else fi
#else
		if :: begins -> break :: else fi
#endif
	   fi
	od;
	e = 0; over = false
}

/* ClaimOrEnter, for call c: a is NONE if it is alone. */
inline claimOrEnter(a, c) {
	do
	:: atomic {
		if
		:: current == NONE ->
			current = c; entered = true;
#ifndef PUBLISHED_EARLY
			left[c] = c
#endif
		:: else -> entered = false
		fi
	   };
#ifdef PUBLISHED_EARLY
	   if :: entered -> left[c] = c :: else fi;
#endif
	   if
	   :: entered -> a = NONE; break
	   :: else ->
		claim(a);
		if :: a != NONE -> break :: else fi
	   fi
	od;
	entered = false
}

/* Leave, for whoever is alone: a is NONE if nobody has come. */
inline leave(a) {
	e = current;
	if
	:: e < CALLS ->
#ifdef LEAVE_BY_STORE
		current = NONE; a = NONE
#else
		atomic { if :: current == e -> current = NONE; a = NONE :: else -> a = 0 fi }
#endif
	:: else -> a = 0
	fi;
	if
	:: a != NONE ->
		atomic { assert(current != NONE && current >= CALLS); a = current - CALLS }
	:: else
	fi;
	e = 0
}

/* Send */
inline send(a, kind, c) {
	atomic { assert(act[a].claims != OVER); call[c].due++ };
	mailbox[a]!kind(c);
#ifdef LATE_GO
	if :: begins -> run owner(a); begins = false :: else fi
#endif
}

inline release(a) {
	act[a].released++;
#ifdef ZERO_IS_OVER
	ended = (act[a].claims == act[a].released);
	if :: ended -> act[a].claims = OVER; alive-- :: else fi;
#else
	atomic {
		if
		:: act[a].claims == act[a].released -> act[a].claims = OVER; alive--; ended = true
		:: else -> ended = false
		fi
	};
#endif
	if :: ended -> clear(CALLS + a) :: else fi
}

#ifdef SPARES_NOBODY
#define spared false
#else
#define spared (kind == forgetUnshared_ && call[f].joined)
#endif

proctype owner(byte a) {
	bool ended, releases;
	mtype kind;
	byte c, k, f;

	do
	:: ended -> break
	:: !ended ->
		atomic {
			mailbox[a]?kind(c);
			if                                 /* joinable */
			:: !act[a].adopted ->
				act[a].adopted = true;
				f = left[act[a].found];
				if :: f != NONE -> act[a].byKey[call[f].key] = f :: else fi
			:: else
			fi;
			k = call[c].key;
			f = act[a].byKey[k];
			releases = true;
			if
			:: kind == do_ && f != NONE ->     /* join */
				call[f].waiters = call[f].waiters | (1 << c);
				call[f].joined = true;
				call[c].flight = f;
				if :: !call[c].doChan -> call[c].due++ :: else fi
			:: kind == do_ && f == NONE ->
				act[a].byKey[k] = c;
				call[c].leads = true;
				releases = false
			:: kind == done_ ->
				if :: f == c -> act[a].byKey[k] = NONE :: else fi
			:: else ->                         /* forget, unless spared */
				if
				:: f != NONE && !spared ->
					act[a].byKey[k] = NONE;
					call[f].forgotten = true;
					call[f].unshared = (kind == forgetUnshared_);
					if :: call[f].running -> runningFor[k]-- :: else fi
				:: else
				fi
			fi;
			kind = 0; k = 0; f = 0
		};
#ifdef ANSWER_BEFORE_RELEASE
		give(c);
		if :: releases -> release(a) :: else fi;
#else
		if :: releases -> release(a) :: else fi;
		give(c);
#endif
		c = 0
	od;
	assert(empty(mailbox[a]))                          /* no message is lost */
}

inline fly(c) {                                            /* fn */
	d_step {
		if
		:: !call[c].forgotten ->
			assert(runningFor[call[c].key] == 0);
			runningFor[call[c].key]++
		:: else
		fi;
		call[c].running = true;
		call[c].flight = c
	};
	d_step {
		call[c].running = false;
		if :: !call[c].forgotten -> runningFor[call[c].key]-- :: else fi
	}
}

/* lead: runs fn and lands. */
inline leadInline(a, c) {
	fly(c);
	if :: a == NONE -> leave(a) :: else fi;
	if
	:: a == NONE
	:: else ->
		send(a, done_, c);
#ifndef DONE_UNANSWERED
		turn[c]?_;
#endif
	fi;
	atomic {
		joined = call[c].joined;
		/* No call is released before the key is free: neither the leader
		 * nor, below, its waiters. */
		if
		:: a == NONE -> assert(current != c && !joined)
		:: else -> assert(act[a].byKey[call[c].key] != c || act[a].claims == OVER)
		fi;
		assert(!(joined && call[c].unshared));     /* a shared flight is spared */
		if :: call[c].doChan -> deliver(c) :: else fi
	};
	do
	:: call[c].waiters == 0 -> break
	:: else ->
		atomic {
			w = 0;
			do
			:: call[c].waiters & (1 << w) -> break
			:: else -> w++
			od;
			call[c].waiters = call[c].waiters & ~(1 << w);
			if
			:: call[w].doChan -> deliver(w)
			:: else ->
				give(w);
#ifdef RELEASED_TWICE
				give(w)
#endif
			fi;
			w = 0
		}
	od;
	atomic {
		assert(joined == call[c].joined);          /* Shared is exact */
		joined = false
	}
}

proctype lead(byte a; byte c) {
	bool begins, joined;
	byte e, w;
	leadInline(a, c)
}

inline Do(c) {
	claimOrEnter(a, c);
	if
	:: a == NONE -> leadInline(a, c)
	:: else ->
		send(a, do_, c);
		turn[c]?_;
		if
		:: call[c].leads -> leadInline(a, c)
		:: else -> turn[c]?_                       /* the landing */
		fi
	fi
}

inline DoChan(c) {
	call[c].doChan = true;
	claimOrEnter(a, c);
	if
	:: a == NONE -> run lead(NONE, c)
	:: else ->
		send(a, do_, c);
		turn[c]?_;
		if :: call[c].leads -> run lead(a, c) :: else fi
	fi
}

inline Forget(c, kind) {             /* and ForgetUnshared */
	claim(a);
	if
	:: a == NONE
	:: else ->
		send(a, kind, c)
#ifndef FORGET_UNANSWERED
		;
		turn[c]?_
#endif
	fi
}

inline returns() {
	atomic {
		returned++;
		/* When the last call returns, the address is at rest. */
		if :: returned == CALLERS -> assert(current == NONE && alive == 0) :: else fi
	}
}

proctype caller() {
	byte a, e, w;
	bool entered, begins, over, joined;
	DoChan(0);
	Forget(1, forget_);
	Do(2);
	assert(call[2].flight != 0);                       /* it was forgotten */
	results[0]?_;
	returns()
}

proctype doer(byte c) {
	byte a, e, w;
	bool entered, begins, over, joined;
	if :: call[c].key = 0 :: call[c].key = 1 fi;
	Do(c);
	returns()
}

proctype forgetter(byte c) {
	byte a, e;
	bool begins, over;
	if :: call[c].key = 0 :: call[c].key = 1 fi;
	if
	:: Forget(c, forget_)
	:: Forget(c, forgetUnshared_)
	fi;
	returns()
}

init {
	byte c = 3 * MIXED;
	atomic {
		if :: MIXED > 0 -> run caller() :: else fi;
		do :: c < 3 * MIXED + DOS -> run doer(c); c++ :: else -> break od;
		do :: c < CALLS -> run forgetter(c); c++ :: else -> break od
	}
}
