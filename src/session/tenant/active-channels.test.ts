import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { ActiveChannels } from './active-channels.js'

function activeChannels(): { clock: ManualClock; channels: ActiveChannels } {
  const clock = new ManualClock()
  return { clock, channels: new ActiveChannels(clock) }
}

describe('ActiveChannels', () => {
  test('counts a channel once, however many subscribers it has', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.addSubscriber('b')
    expect([channels.count(), channels.subscribersOf('a'), channels.subscribersOf('c')]).toEqual([2, 2, 0])
  })

  test('removes a channel with its last subscriber', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.removeSubscriber('a')
    expect(channels.useOf('a') !== undefined).toBe(true)
    channels.removeSubscriber('a')
    expect([channels.useOf('a') !== undefined, channels.count()]).toEqual([false, 0])
  })

  test('keeps a channel with history until its time to live ends', () => {
    const { channels, clock } = activeChannels()
    channels.addPublication('a', 60_000)
    clock.advance(59_000)
    expect(channels.count()).toBe(1)
    clock.advance(1_000)
    expect(channels.count()).toBe(0)
  })

  test('restarts the time to live with each publication', () => {
    const { channels, clock } = activeChannels()
    channels.addPublication('a', 60_000)
    clock.advance(50_000)
    channels.addPublication('a', 60_000)
    clock.advance(50_000)
    expect(channels.count()).toBe(1)
  })

  test('keeps a channel without subscribers while it has history', () => {
    const { channels, clock } = activeChannels()
    channels.addSubscriber('a')
    channels.addPublication('a', 60_000)
    channels.removeSubscriber('a')
    expect(channels.count()).toBe(1)
    clock.advance(60_000)
    expect(channels.count()).toBe(0)
  })

  test('keeps a channel with subscribers after its history has expired', () => {
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

  test('lists only channels with subscribers', () => {
    const { channels } = activeChannels()
    channels.addSubscriber('a')
    channels.addSubscriber('a')
    channels.addPublication('b', 60_000)
    expect([...channels.subscribedChannels()]).toEqual([['a', 2]])
  })

  test('ignores the removal of a subscriber from an inactive channel', () => {
    const { channels } = activeChannels()
    channels.removeSubscriber('a')
    expect(channels.count()).toBe(0)
  })
})
