/*
 * The life cycle of package actor, and the protocol of messages.go on top of it.
 * README.md says which line here is which line there.
 *
 * The numbers below say what the callers do. spin searches every order in which it
 * can happen.
 */

#ifndef DOS
#define DOS 0                /* callers that make one Do, with either key; or a DoChan, if there are LEAVERS */
#endif
#ifndef FORGETS
#define FORGETS 0            /* callers that make one Forget or ForgetUnshared, with either key */
#endif
#ifndef MIXED
#define MIXED 0              /* callers (at most 1) that make a DoChan, a Forget and a Do, all with key 0 */
#endif
#ifndef LEAVERS
#define LEAVERS 0            /* callers that make one DoContext, which they may leave, with either key */
#endif
#ifndef KEYS
#define KEYS 2               /* or 1 */
#endif
#define CALLS   (3 * MIXED + DOS + FORGETS + LEAVERS)
#define CALLERS (MIXED + DOS + FORGETS + LEAVERS)
#define ROOM  1              /* in a mailbox: the less, the more senders wait */
#define NONE  255
#define OVER  -1

#ifdef COARSE                /* fewer steps; README.md says which */
#define STEP atomic
#else
#define STEP
#endif

mtype = { do_, done_, leave_, forget_, forgetUnshared_ };
mtype = { joined_, leads_, standby_ };

/* Address: the entry that it holds: c is that of call c, which is alone; CALLS + a is
 * that of activation a. */
byte current = NONE;
byte note[CALLS] = NONE;     /* in an entry: the flight of the call that is alone */

/* Activation, one per call at most */
typedef Activation {
	short claims;        /* made, or OVER */
	byte released;
	byte found;          /* the entry whose note the owner gets */
	bool adopted;        /* the owner has adopted it */
	byte byKey[KEYS] = NONE;
	byte forgotten;      /* forgotten flights that have not landed, a bit each */
};
Activation act[CALLS];
byte acts;                   /* how many have begun */
chan mailbox[CALLS] = [ROOM] of { mtype, byte };

/* A call, and the flight in it. The calls that may leave come last. */
typedef Call {
	byte key;
	bool doChan;
	mtype answer;        /* to do */
	byte flight = NONE;  /* that the call is on */
	bool left;           /* the call has left its flight */
	bool last;           /* and no caller remains */

	byte leader;         /* of its flight: the index of the turn it waits for */
	byte waiters;        /* of its flight, a bit each */
	byte next = NONE;    /* the flight that begins when this one, abandoned, ends */
	bool cancelled;      /* fn's context */

	/* its flight: */
	bool begun;
	bool forgotten;
	bool unshared;       /* forgotten by ForgetUnshared */
	bool running;        /* fn */
	bool landed;
	bool abandoned;      /* when it landed */
	bool delivered;      /* its channel has received */
};
Call call[CALLS];
chan turn[CALLS + LEAVERS] = [2] of { bit };     /* of calls, and then of hosts */
chan results[CALLS] = [1] of { bit };

#define mayLeave(c)  (c >= CALLS - LEAVERS)
#define hosted(f)    (call[f].leader >= CALLS)   /* no caller leads it */
#define abandoned(f) (hosted(f) && call[f].waiters == 0)
#define aboard(f)    (call[f].waiters >> (CALLS - LEAVERS) != 0)   /* a call that may leave is on it */
#define shared(f)    ((call[f].waiters & (call[f].waiters - hosted(f))) != 0)  /* by more than one call */

/* What must hold. */
byte alive;                  /* activations: never two */
byte runningFor[KEYS];       /* flights that were not forgotten: never two */
byte due[CALLS + LEAVERS];   /* turns that calls and hosts still wait for */
byte abandonedFlights;       /* that have not landed */
byte returned;               /* callers */

byte first = CALLS - LEAVERS;  /* of the callers that may leave and have not begun */

inline give(c) {             /* the turn, once, to a call or host that waits for it */
	atomic { assert(due[c] > 0 && nfull(turn[c])); due[c]--; turn[c]!0 }
}

inline deliver(c) {          /* the result, to the channel of a DoChan */
	atomic { assert(!call[c].delivered); call[c].delivered = true; results[c]!0 }
}

inline clear(e) {            /* CompareAndSwap(e, nil) */
	atomic { if :: current == e -> current = NONE :: else fi }
}

/* Claim: a is NONE if the address is at rest. */
inline claim(a) { STEP {
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
}}

/* ClaimOrEnter, for call c: a is NONE if it is alone. */
inline claimOrEnter(a, c) { STEP {
	do
	:: atomic {
		if
		:: current == NONE ->
			current = c; entered = true;
			call[c].flight = c;
#ifndef PUBLISHED_EARLY
			note[c] = c
#endif
		:: else -> entered = false
		fi
	   };
#ifdef PUBLISHED_EARLY
	   if :: entered -> note[c] = c :: else fi;
#endif
	   if
	   :: entered -> a = NONE; break
	   :: else ->
		claim(a);
		if :: a != NONE -> break :: else fi
	   fi
	od;
	entered = false
}}

/* Leave, by the call that is alone: a is NONE if no other has come. */
inline leave(a) { STEP {
	e = current;
	if
	:: e < CALLS ->
#ifdef LEAVE_BY_STORE
		current = NONE; a = NONE; call[e].landed = true
#else
		atomic { if :: current == e -> current = NONE; a = NONE; call[e].landed = true :: else -> a = 0 fi }
#endif
	:: else -> a = 0
	fi;
	if
	:: a != NONE ->
		atomic { assert(current != NONE && current >= CALLS); a = current - CALLS }
	:: else
	fi;
	e = 0
}}

/* Send */
inline send(a, kind, c) { STEP {
	atomic {
		assert(act[a].claims != OVER);
		if
		:: kind == done_ -> due[call[c].leader]++
		:: else -> due[c]++
		fi
	};
	mailbox[a]!kind(c);
#ifdef LATE_GO
	if :: begins -> run owner(a); begins = false :: else fi
#endif
}}

inline release(a) { STEP {
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
}}

#ifdef SPARES_NOBODY
#define spared false
#else
#define spared (kind == forgetUnshared_ && (shared(f) || call[f].next != NONE))
#endif

#ifdef JOINS_ABANDONED
#define joinable(f) true
#else
#define joinable(f) (!abandoned(f))
#endif

inline found_(c) {           /* a flight */
	call[c].flight = c;
	if :: mayLeave(c) || call[c].answer == standby_ -> due[c]++ :: else fi
}

inline join(c, f) {
	assert(!call[f].forgotten && !call[f].landed);
	call[c].answer = joined_;
	call[c].flight = f;
	call[f].waiters = call[f].waiters | (1 << c);
	if :: !call[c].doChan -> due[c]++ :: else fi
}

inline takeOver(c, f) {
	assert(!call[f].begun);
	call[c].answer = standby_;
	call[c].flight = f;
	call[f].leader = c;
	due[c]++
}

inline beginNext(f) {        /* of key k */
	n = call[f].next;
	if
	:: n != NONE ->
#ifndef BEGINS_TWICE
		call[f].next = NONE;
#endif
		assert(kind != forgetUnshared_);           /* a flight with a next is spared */
		assert(!hosted(n) || aboard(n));           /* there is an fn to run */
		act[a].byKey[k] = n;
#ifndef BEGUN_UNCLAIMED
		releases = false;
#endif
		if :: hosted(n) -> run lead(a, n, false) :: else -> give(call[n].leader) fi
	:: else
	fi
}

inline remove(c, f) {        /* c leaves f; n is the flight of the key */
	call[f].waiters = call[f].waiters & ~(1 << c);
	call[c].left = true;
	due[c]--;                                          /* the landing */
	if
	:: !abandoned(f)
#ifndef EMPTY_BEGINS
	:: abandoned(f) && n != NONE && call[n].next == f -> call[n].next = NONE
#endif
	:: else ->
		call[c].last = true;
		abandonedFlights++;
#ifdef ABANDONED_IS_FREE
		act[a].byKey[k] = NONE
#endif
	fi
}

/* whether f has not landed; n is the flight of the key */
#ifdef FORGOTTEN_HAS_LANDED
#define find(f) (n == f || n != NONE && call[n].next == f)
#else
#define find(f) (act[a].forgotten & (1 << f) || n == f || n != NONE && call[n].next == f)
#endif

proctype owner(byte a) {
	bool ended, releases, abandonedOne;
	mtype kind;
	byte c, k, f, n;

	do
	:: ended -> break
	:: !ended -> STEP {
		atomic {
			mailbox[a]?kind(c);
			if                                 /* stateOf */
			:: !act[a].adopted ->
				act[a].adopted = true;
				f = note[act[a].found];
				if :: f != NONE -> act[a].byKey[call[f].key] = f :: else fi
			:: else
			fi;
			k = call[c].key;
			f = act[a].byKey[k];
			releases = true; abandonedOne = false;
			if
			:: kind == do_ ->
				if
				:: f == NONE ->
					call[c].answer = leads_;
					found_(c);
					act[a].byKey[k] = c;
					releases = false
				:: f != NONE && joinable(f) -> join(c, f)
				:: else ->
					n = call[f].next;
					if
					:: n == NONE ->
						call[c].answer = standby_;
						found_(c);
						call[f].next = c
					:: n != NONE && hosted(n) && !mayLeave(c) -> takeOver(c, n)
					:: else -> join(c, n)
					fi
				fi
			:: kind == done_ ->                /* its flight is c */
				if
				:: f == c -> act[a].byKey[k] = NONE
				:: else -> act[a].forgotten = act[a].forgotten & ~(1 << c)
				fi;
				call[c].landed = true;
				abandonedOne = abandoned(c);
#ifndef NEVER_BEGINS
				beginNext(c);
#endif
				c = call[c].leader
			:: kind == leave_ ->
				n = f;
				f = call[c].flight;
				if
				:: find(f) -> remove(c, f)
				:: else ->
					assert(call[f].landed);
#ifdef LEAVE_AFTER_LANDING
					call[c].left = true
#endif
				fi;
#ifdef LEAVE_LOST
				c = NONE
#endif
			:: else ->                         /* forget, unless spared */
				if
				:: f != NONE && !spared ->
					act[a].byKey[k] = NONE;
					act[a].forgotten = act[a].forgotten | (1 << f);
					call[f].forgotten = true;
					call[f].unshared = (kind == forgetUnshared_);
					if :: call[f].running -> runningFor[k]-- :: else fi;
					beginNext(f)
				:: else
				fi
			fi;
			kind = 0; k = 0; f = 0; n = 0
		};
#ifdef ANSWER_BEFORE_RELEASE
		if :: c != NONE -> give(c) :: else fi;
#endif
		if :: releases -> release(a) :: else fi;
		if :: abandonedOne -> abandonedFlights-- :: else fi;
#ifndef ANSWER_BEFORE_RELEASE
		if :: c != NONE -> give(c) :: else fi;
#endif
		c = 0
		}
	od;
	assert(empty(mailbox[a]))                          /* no message is lost */
}

inline fly(c) {                                            /* fn, unless all have left */
	d_step {
		assert(!call[c].begun);
		call[c].begun = true;
		call[c].running = !call[c].cancelled;
		if
		:: call[c].running && !call[c].forgotten ->
			assert(runningFor[call[c].key] == 0);
			runningFor[call[c].key]++
		:: else
		fi
	}
}

inline ends(c) {
	d_step {
		if :: call[c].running && !call[c].forgotten -> runningFor[call[c].key]-- :: else fi;
		call[c].running = false
	}
}

/* lead: runs fn and lands flight c. */
inline leadInline(a, c) {
	fly(c);
	STEP {
	ends(c);
	if :: a == NONE -> leave(a) :: else fi;
	if
	:: a == NONE
	:: else ->
		send(a, done_, c);
#ifndef DONE_UNANSWERED
		turn[call[c].leader]?_;
#endif
	fi;
	atomic {
		isShared = shared(c);
		call[c].abandoned = abandoned(c);
		/* No call is released before the key is free: neither the leader
		 * nor, below, its waiters. */
		if
		:: a == NONE -> assert(current != c && !isShared && !call[c].abandoned)
		:: else -> assert(act[a].byKey[call[c].key] != c || act[a].claims == OVER)
		fi;
		assert(!(isShared && call[c].unshared));   /* a shared flight is spared */
		assert(!call[c].cancelled || call[c].abandoned);
		if
		:: hosted(c)
		:: else ->
			got++;
			if :: call[call[c].leader].doChan -> deliver(call[c].leader) :: else fi
		fi
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
			got++;
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
		assert(isShared == (got > 1));             /* Shared is exact */
		isShared = false; got = 0
	}
	}
}

/* leadChan and host */
proctype lead(byte a; byte c; bool standby) {
	bool begins, isShared;
	byte e, w, got;
	if :: standby -> turn[call[c].leader]?_ :: else fi;
	leadInline(a, c)
}

inline Do(c) {
	claimOrEnter(a, c);
	if
	:: a == NONE
	:: else ->
		send(a, do_, c);
		turn[c]?_;
		if
		:: call[c].answer == leads_
		:: else -> turn[c]?_                       /* the landing; or, for a standby, its turn to lead */
		fi
	fi;
	if
	:: call[c].answer == joined_
	:: else -> f = call[c].flight; leadInline(a, f)
	fi
}

inline DoChan(c) {
	call[c].doChan = true;
	claimOrEnter(a, c);
	if
	:: a == NONE -> run lead(NONE, c, false)
	:: else ->
		send(a, do_, c);
		turn[c]?_;
		if
		:: call[c].answer == joined_
		:: else -> run lead(a, call[c].flight, call[c].answer == standby_)
		fi
	fi
}

inline returns() {
	atomic {
		returned++;
		/* When the last call returns, the address is at rest. */
		if :: returned == CALLERS && abandonedFlights == 0 -> assert(current == NONE && alive == 0) :: else fi
	}
}

inline DoContext(c) {
	STEP {
		first == c -> first++;                     /* they are interchangeable, so they begin in order */
		claimOrEnter(a, c)
	};
	if
	:: a == NONE -> atomic { due[c]++; run lead(NONE, c, false) }
	:: else ->
		send(a, do_, c);
		atomic {
			turn[c]?_;
			if :: call[c].answer == leads_ -> run lead(a, c, false) :: else fi
		}
	fi;
	/* waitOrLeave */
	a = 0;
	if
	:: STEP { turn[c]?_; returns() }                   /* the landing */
	:: claim(a);
	   if
	   :: a == NONE -> assert(call[call[c].flight].landed)
	   :: else -> send(a, leave_, c)
	   fi;
	   STEP {
	   if
	   :: a != NONE -> turn[c]?_                       /* the answer, or the landing */
	   :: else
	   fi;
	   if
	   :: call[c].left
#ifdef LEFT_AT_REST
	   :: !call[c].left && a == NONE
#endif
#ifdef ANSWER_NOT_AWAITED
	   :: !call[c].left && a != NONE
#endif
	   :: else -> turn[c]?_                            /* the other of the two */
	   fi;
	   if
	   :: call[c].last -> call[call[c].flight].cancelled = true
	   :: else
	   fi;
	   returns()
	   }
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

inline chooseKey(c) {
	if :: call[c].key = 0 :: KEYS > 1 -> call[c].key = 1 fi
}

proctype caller() {
	byte a, e, w, f, got;
	bool entered, begins, over, isShared;
	DoChan(0);
	Forget(1, forget_);
	Do(2);
	/* Flight 0 was forgotten, unless it began at that Forget. */
	assert(call[2].flight != 0 || LEAVERS > 0 && !call[0].forgotten);
	results[0]?_;
	returns()
}

proctype doer(byte c) {
	byte a, e, w, f, got;
	bool entered, begins, over, isShared;
	chooseKey(c);
	if
	:: Do(c)
	:: LEAVERS > 0 -> DoChan(c); results[c]?_
	fi;
	returns()
}

proctype forgetter(byte c) {
	byte a, e;
	bool begins, over;
	chooseKey(c);
	if
	:: Forget(c, forget_)
	:: Forget(c, forgetUnshared_)
	fi;
	returns()
}

proctype leaver(byte c) {
	byte a, e;
	bool entered, begins, over;
	chooseKey(c);
	DoContext(c)
}

init {
	byte c;
	atomic {
		do
		:: c < CALLS ->
			call[c].leader = c;
			if
			:: mayLeave(c) ->                  /* a host leads, if it is a flight */
				call[c].leader = c + LEAVERS;
				call[c].waiters = 1 << c
			:: else
			fi;
			c++
		:: else -> break
		od;
		if :: MIXED > 0 -> run caller() :: else fi;
		c = 3 * MIXED;
		do :: c < 3 * MIXED + DOS -> run doer(c); c++ :: else -> break od;
		do :: c < CALLS - LEAVERS -> run forgetter(c); c++ :: else -> break od;
		do :: c < CALLS -> run leaver(c); c++ :: else -> break od
	};
	_nr_pr == 1;
	d_step {
		assert(current == NONE && alive == 0 && abandonedFlights == 0);
		c = 0;
		do
		:: c < CALLS + LEAVERS ->
			/* Each call has had one end. */
			assert(due[c] == 0 && empty(turn[c]));
			if
			:: c < CALLS ->
				assert(call[c].begun == call[c].landed);
				assert(call[c].cancelled == call[c].abandoned)
			:: else
			fi;
			c++
		:: else -> break
		od
	}
}
