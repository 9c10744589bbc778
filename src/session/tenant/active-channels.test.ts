import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { ActiveChannels } from './active-channels.js'

function activeChannels(): { clock: ManualClock; channels: ActiveChannels } {
  const clock = new ManualClock()
  return { clock, channels: new ActiveChannels(clock) }
}

describe('ActiveChannels', () => {
  test('counts a channel once, however many subscribe', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.addSubscriber('b')
    expect([channels.count(), channels.subscribersOf('a'), channels.subscribersOf('c')]).toEqual([2, 2, 0])
  })

  test('forgets a channel with its last subscriber', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.removeSubscriber('a')
    expect(channels.has('a')).toBe(true)
    channels.removeSubscriber('a')
    expect([channels.has('a'), channels.count()]).toEqual([false, 0])
  })

  test('keeps a channel with history until its time to live is over', () => {
    const { channels, clock } = activeChannels()
    channels.addPublication('a', 60_000)
    clock.advance(59_000)
    expect(channels.count()).toBe(1)
    clock.advance(1_000)
    expect(channels.count()).toBe(0)
  })

  test('each publish begins the time to live anew', () => {
    const { channels, clock } = activeChannels()
    channels.addPublication('a', 60_000)
    clock.advance(50_000)
    channels.addPublication('a', 60_000)
    clock.advance(50_000)
    expect(channels.count()).toBe(1)
  })

  test('a channel that lost its subscribers lives on by its history', () => {
    const { channels, clock } = activeChannels()
    channels.addSubscriber('a')
    channels.addPublication('a', 60_000)
    channels.removeSubscriber('a')
    expect(channels.count()).toBe(1)
    clock.advance(60_000)
    expect(channels.count()).toBe(0)
  })

  test('a channel with subscribers outlives its history', () => {
    const { channels, clock } = activeChannels()
    channels.addSubscriber('a')
    channels.addPublication('a', 60_000)
    clock.advance(120_000)
    expect(channels.count()).toBe(1)
  })

  test('sweeps at most once a second', () => {
    const { channels, clock } = activeChannels()
    channels.addPublication('a', 500)
    expect(channels.count()).toBe(1)
    clock.advance(999)
    expect(channels.count()).toBe(1)
    clock.advance(1)
    expect(channels.count()).toBe(0)
  })

  test('lists those with subscribers only', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.addPublication('b', 60_000)
    expect([...channels.subscribedChannels()]).toEqual([['a', 2]])
  })

  test('unsubscribing from what nobody subscribed to changes nothing', () => {
    const { channels } = activeChannels()
    channels.removeSubscriber('a')
    expect(channels.count()).toBe(0)
  })
})
