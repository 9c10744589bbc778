import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { TimerWheel } from '../../time.js'
import { Heartbeat } from './heartbeat.js'

const timing = { pingIntervalMs: 25_000, pongTimeoutMs: 8_000 }

class Peer {
  readonly clock = new ManualClock()
  readonly wheel = new TimerWheel({ clock: this.clock })
  readonly pingsAtMs: number[] = []
  readonly closesAtMs: number[] = []
  closeCode: number | undefined
  readonly heartbeat: Heartbeat

  constructor(random = 1) {
    this.heartbeat = new Heartbeat(
      {
        isReading: true,
        ping: () => void this.pingsAtMs.push(this.clock.monotonicMs()),
        close: ({ code }) => {
          this.closesAtMs.push(this.clock.monotonicMs())
          this.closeCode = code
        },
      },
      { timing, wheel: this.wheel, random: () => random },
    )
  }

  /**
   * Advances the time in steps of the timer wheel. Answers each ping after `pongAfterMs`; by default never.
   */
  live(ms: number, pongAfterMs = Number.POSITIVE_INFINITY): void {
    const endMs = this.clock.monotonicMs() + ms
    while (this.clock.monotonicMs() < endMs && this.closesAtMs.length === 0) {
      this.clock.advance(250)
      this.wheel.advance()
      if (this.clock.monotonicMs() - (this.pingsAtMs.at(-1) ?? Number.NaN) === pongAfterMs)
        this.heartbeat.onActivity()
    }
  }
}

describe('Heartbeat', () => {
  test.each([0, 500, 4_000, 7_750])('pings every interval, also when the pong takes %i ms', (pongAfterMs) => {
    const peer = new Peer()
    peer.live(101_000, pongAfterMs)
    expect(peer.pingsAtMs).toEqual([25_000, 50_000, 75_000, 100_000])
    expect(peer.closesAtMs).toEqual([])
  })

  test.each([
    [0, 12_500],
    [0.5, 18_750],
    [1, 25_000],
  ])('first pings after 50–100 %% of the interval: random %d', (random, atMs) => {
    const peer = new Peer(random)
    peer.live(25_250)
    expect(peer.pingsAtMs).toEqual([atMs])
  })

  test('closes with 3012 after the timeout without activity', () => {
    const peer = new Peer()
    peer.live(60_000)
    expect(peer.closesAtMs).toEqual([33_000])
    expect(peer.closeCode).toBe(3012)
  })

  test('closes a peer that falls silent later', () => {
    const peer = new Peer()
    peer.live(60_000, 1_000)
    peer.live(60_000)
    expect(peer.closesAtMs).toEqual([83_000])
  })

  test('activity before a ping does not count after it', () => {
    const peer = new Peer()
    peer.live(24_750)
    peer.heartbeat.onActivity()
    peer.live(60_000)
    expect(peer.closesAtMs).toEqual([33_000])
  })

  test('neither pings nor closes once stopped', () => {
    const peer = new Peer()
    peer.live(25_000)
    peer.heartbeat.stop()
    peer.live(60_000)
    expect([peer.pingsAtMs, peer.closesAtMs]).toEqual([[25_000], []])
  })
})
