import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { ChannelCensus } from './active-channels.js'

function census(): { clock: ManualClock; channels: ChannelCensus } {
  const clock = new ManualClock()
  return { clock, channels: new ChannelCensus(clock) }
}

describe('ChannelCensus', () => {
  test('counts a channel once, however many subscribe', () => {
    const { channels } = census()
    channels.subscribed('a')
    channels.subscribed('a')
    channels.subscribed('b')
    expect([channels.count(), channels.subscribersOf('a'), channels.subscribersOf('c')]).toEqual([2, 2, 0])
  })

  test('forgets a channel with its last subscriber', () => {
    const { channels } = census()
    channels.subscribed('a')
    channels.subscribed('a')
    channels.unsubscribed('a')
    expect(channels.has('a')).toBe(true)
    channels.unsubscribed('a')
    expect([channels.has('a'), channels.count()]).toEqual([false, 0])
  })

  test('keeps a channel with history until its time to live is over', () => {
    const { channels, clock } = census()
    channels.published('a', 60_000)
    clock.advance(59_000)
    expect(channels.count()).toBe(1)
    clock.advance(1_000)
    expect(channels.count()).toBe(0)
  })

  test('each publish begins the time to live anew', () => {
    const { channels, clock } = census()
    channels.published('a', 60_000)
    clock.advance(50_000)
    channels.published('a', 60_000)
    clock.advance(50_000)
    expect(channels.count()).toBe(1)
  })

  test('a channel that lost its subscribers lives on by its history', () => {
    const { channels, clock } = census()
    channels.subscribed('a')
    channels.published('a', 60_000)
    channels.unsubscribed('a')
    expect(channels.count()).toBe(1)
    clock.advance(60_000)
    expect(channels.count()).toBe(0)
  })

  test('a channel with subscribers outlives its history', () => {
    const { channels, clock } = census()
    channels.subscribed('a')
    channels.published('a', 60_000)
    clock.advance(120_000)
    expect(channels.count()).toBe(1)
  })

  test('sweeps at most once a second', () => {
    const { channels, clock } = census()
    channels.published('a', 500)
    expect(channels.count()).toBe(1)
    clock.advance(999)
    expect(channels.count()).toBe(1)
    clock.advance(1)
    expect(channels.count()).toBe(0)
  })

  test('lists those with subscribers only', () => {
    const { channels } = census()
    channels.subscribed('a')
    channels.subscribed('a')
    channels.published('b', 60_000)
    expect([...channels.subscribedChannels()]).toEqual([['a', 2]])
  })

  test('unsubscribing from what nobody subscribed to changes nothing', () => {
    const { channels } = census()
    channels.unsubscribed('a')
    expect(channels.count()).toBe(0)
  })
})
