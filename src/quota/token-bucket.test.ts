import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { retryAfterMsMax, TokenBucket } from './token-bucket.js'

describe('take', () => {
  test('gives the burst immediately, then tokens at the rate', () => {
    const bucket = new TokenBucket({ rate: 2, burst: 3 }, 0)
    expect([bucket.take(1, 0), bucket.take(1, 0), bucket.take(1, 0)]).toEqual([0, 0, 0])
    expect(bucket.take(1, 0)).toBe(500)
    expect(bucket.take(1, 499)).toBe(1)
    expect(bucket.take(1, 500)).toBe(0)
  })

  test('takes all or nothing', () => {
    const bucket = new TokenBucket({ rate: 1, burst: 5 }, 0)
    expect(bucket.take(3, 0)).toBe(0)
    expect(bucket.take(3, 0)).toBe(1000)
    expect(bucket.take(2, 0)).toBe(0)
  })

  test('saves no more than the burst, however long it is idle', () => {
    const bucket = new TokenBucket({ rate: 100, burst: 2 }, 0)
    expect(bucket.take(2, 1e12)).toBe(0)
    expect(bucket.take(1, 1e12)).toBe(10)
  })

  test('always refuses at rate 0', () => {
    const bucket = new TokenBucket({ rate: 0, burst: 5 }, 0)
    expect(bucket.take(1, 0)).toBe(retryAfterMsMax)
    expect(bucket.take(1, 1e9)).toBe(retryAfterMsMax)
    expect(bucket.charge(0, 1e9)).toBe(retryAfterMsMax)
  })

  test('refuses a request above the burst with the longest wait', () => {
    expect(new TokenBucket({ rate: 1, burst: 5 }, 0).take(6, 1e9)).toBe(retryAfterMsMax)
  })

  test('a clock that goes back adds no tokens', () => {
    const bucket = new TokenBucket({ rate: 1000, burst: 1 }, 10_000)
    expect(bucket.take(1, 10_000)).toBe(0)
    expect(bucket.take(1, 5000)).toBe(1)
    expect(bucket.take(1, 10_000)).toBe(1)
    expect(bucket.take(1, 10_001)).toBe(0)
  })
})

describe('charge', () => {
  test('goes into debt, and the next take waits until the debt is paid', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 10 }, 0)
    expect(bucket.charge(30, 0)).toBe(2000)
    expect(bucket.take(1, 0)).toBe(2100)
    expect(bucket.charge(0, 2000)).toBe(0)
    expect(bucket.take(1, 2099)).toBe(1)
    expect(bucket.take(1, 2100)).toBe(0)
  })

  test('returns no wait above the maximum', () => {
    expect(new TokenBucket({ rate: 1, burst: 1 }, 0).charge(1_000_000, 0)).toBe(retryAfterMsMax)
  })
})

describe('configure', () => {
  test('a lower burst applies immediately', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 100 }, 0)
    bucket.configure({ rate: 1, burst: 2 }, 0)
    expect(bucket.take(3, 0)).toBe(retryAfterMsMax)
    expect(bucket.take(2, 0)).toBe(0)
    expect(bucket.take(1, 0)).toBe(1000)
  })

  test('a higher burst fills at the new rate, and earlier time counts at the old rate', () => {
    const bucket = new TokenBucket({ rate: 1, burst: 1 }, 0)
    bucket.take(1, 0)
    bucket.configure({ rate: 100, burst: 100 }, 500)
    expect(bucket.take(1, 500)).toBe(5)
    expect(bucket.take(1, 505)).toBe(0)
  })

  test('opens a bucket that was closed by rate 0', () => {
    const bucket = new TokenBucket({ rate: 0, burst: 0 }, 0)
    bucket.configure({ rate: 1, burst: 1 }, 0)
    expect(bucket.take(1, 1000)).toBe(0)
  })
})

const limits = fc.record({
  rate: fc.integer({ min: 0, max: 1000 }),
  burst: fc.integer({ min: 0, max: 1000 }),
})
const requests = fc.array(
  fc.record({
    n: fc.integer({ min: 1, max: 50 }),
    afterMs: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.double({ min: 0, max: 50, noNaN: true })),
  }),
  { maxLength: 60 },
)

test('no window of t seconds gets more than burst + rate * t tokens', () => {
  fc.assert(
    fc.property(limits, requests, ({ rate, burst }, calls) => {
      const bucket = new TokenBucket({ rate, burst }, 0)
      let nowMs = 0
      const granted: { atMs: number; n: number }[] = []
      for (const { n, afterMs } of calls) {
        nowMs += afterMs
        if (bucket.take(n, nowMs) === 0) granted.push({ atMs: Math.floor(nowMs), n })
      }
      for (const [first, from] of granted.entries()) {
        let sum = 0
        for (const { atMs, n } of granted.slice(first)) {
          sum += n
          if (sum > burst + (rate * (atMs - from.atMs)) / 1000) return false
        }
      }
      return true
    }),
  )
})

test('a caller that waits for the returned time gets its tokens if no other call comes', () => {
  fc.assert(
    fc.property(limits, requests, fc.integer({ min: 1, max: 50 }), (bounds, calls, n) => {
      const bucket = new TokenBucket(bounds, 0)
      let nowMs = 0
      for (const request of calls) bucket.take(request.n, (nowMs += request.afterMs))
      const waitMs = bucket.take(n, nowMs)
      return waitMs === 0 || waitMs === retryAfterMsMax || bucket.take(n, nowMs + waitMs) === 0
    }),
  )
})

describe('a request that the gateway has delayed', () => {
  test('uses the tokens that the full bucket had no room for, as many as it was delayed', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 10 }, 0)
    let taken = 0
    while (bucket.take(1, 2_000, 2_000) === 0) taken += 1
    expect(taken).toBe(30)
  })

  test('gets no more than the tokens of its delay, and never more than those of five seconds', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 10 }, 0)
    expect(bucket.take(10, 60_000)).toBe(0)
    expect(bucket.take(6, 60_000, 500)).toBeGreaterThan(0)
    expect(bucket.take(5, 60_000, 500)).toBe(0)
    let taken = 0
    while (bucket.take(1, 60_000, 60_000) === 0) taken += 1
    expect(taken).toBe(45)
  })

  test('keeps nothing for requests that were not delayed', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 10 }, 0)
    expect(bucket.take(10, 10_000)).toBe(0)
    expect(bucket.take(1, 10_000)).toBe(100)
  })

  test('pays a debt with them', () => {
    const bucket = new TokenBucket({ rate: 10, burst: 10 }, 0)
    expect(bucket.charge(25, 2_000, 2_000)).toBe(0)
    expect(bucket.charge(10, 2_000, 2_000)).toBe(500)
  })
})

test('never gives more than the burst and the rate of the time since the bucket was full, whatever is delayed', () => {
  const sequences = fc.array(
    fc.record({ afterMs: fc.nat({ max: 3_000 }), n: fc.nat({ max: 5 }), delayedMs: fc.nat({ max: 10_000 }) }),
  )
  fc.assert(
    fc.property(sequences, (sequence) => {
      const bucket = new TokenBucket({ rate: 4, burst: 6 }, 0)
      let [nowMs, given] = [0, 0]
      for (const { afterMs, delayedMs, n } of sequence) {
        nowMs += afterMs
        if (bucket.take(n, nowMs, delayedMs) === 0) given += n
        expect(given).toBeLessThanOrEqual(6 + (4 * nowMs) / 1000)
      }
    }),
  )
})
