// A crowd at both doors of the Service, with a publisher in each room; and the judgement over what all of them saw.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { resumeBarMs, resumedPercentBar, slack } from './bars.js'
import { ChatFan, sdkFan, type ChatEvent, type Fan, type Room } from './fans.js'
import { Publisher } from './publisher.js'
import type { Tenant } from './tenants.js'

export interface CrowdOptions {
  readonly url: string
  readonly tenants: readonly Tenant[]
  readonly fans: number
  /** Of each tenant. */
  readonly rooms: number
  /** Of all publishers together. */
  readonly publishesPerSecond: number
}

/** As a door of a real house: everybody at once is another test's matter. */
const joinsPerSecond = 100
/** Every so many fans, one is the SDK's. */
const sdkEvery = 5
const settleDeadlineMs = 120_000

export interface Resumption {
  /** Times that a fan lost its room. */
  readonly losses: number
  /** Of these, in percent, back within the bar. */
  readonly withinBarPercent: number
  readonly medianMs: number
  readonly maxMs: number
}

export class Crowd {
  readonly #options: CrowdOptions
  readonly #rooms: readonly Room[]
  readonly #publishers: Publisher[] = []
  #fans: Fan[] = []
  #count = 0

  private constructor(options: CrowdOptions) {
    this.#options = options
    this.#rooms = options.tenants.flatMap((tenant) =>
      Array.from({ length: options.rooms }, (_, index) => ({ tenant, name: `room-${index}` })),
    )
  }

  static async gather(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options)
    const everyMs = (1_000 * crowd.#rooms.length) / options.publishesPerSecond
    try {
      for (const room of crowd.#rooms)
        crowd.#publishers.push(
          await Publisher.start({ name: `publisher-${room.name}`, room, url: options.url, everyMs }),
        )
      await crowd.add(options.fans)
      return crowd
    } catch (error) {
      crowd.disperse()
      throw error
    }
  }

  /** Resolves when they are in their rooms. */
  async add(fans: number): Promise<void> {
    const { url } = this.#options
    const joining: Promise<void>[] = []
    for (let added = 0; added < fans; added += 1) {
      const room = this.#rooms[this.#count % this.#rooms.length]
      if (!room) throw new Error('there is no room')
      const options = { name: `fan-${this.#count}`, room, url }
      this.#count += 1
      const opening = this.#count % sdkEvery === 0 ? sdkFan(options) : ChatFan.open(options)
      joining.push(opening.then((fan) => void this.#fans.push(fan)))
      await sleep(1_000 / joinsPerSecond)
    }
    await Promise.all(joining)
  }

  /** All but so many go home. */
  leave(remaining: number): void {
    for (const fan of this.#fans.slice(remaining)) fan.close()
    this.#fans = this.#fans.slice(0, remaining)
  }

  get size(): number {
    return this.#fans.length
  }

  /** Forgets how long resumptions took until now. */
  forgetResumes(): void {
    for (const { thread } of this.#fans) thread.resumesMs.length = 0
  }

  /** Resolves when so many fans have lost their rooms since the last `forgetResumes`, back or not. */
  async lostRooms(count: number, deadlineMs: number): Promise<void> {
    const lost = () =>
      this.#fans.filter(({ thread }) => thread.lostMs !== undefined || thread.resumesMs.length > 0).length
    await until(`${count} have lost their rooms`, () => lost() >= count, { deadlineMs })
  }

  /** Resolves when nobody is without its room. */
  async resumed(deadlineMs: number): Promise<void> {
    await until(
      'all are back in their rooms',
      () => this.#fans.every(({ thread }) => thread.lostMs === undefined),
      {
        deadlineMs,
      },
    )
  }

  /** Since the last `forgetResumes`. Fails when fewer than 99.9 % were back within five times the bar. */
  resumption(): Resumption {
    const all = this.#fans.flatMap(({ thread }) => thread.resumesMs).toSorted((a, b) => a - b)
    const percentWithin = (ms: number) =>
      all.length === 0 ? 100 : (100 * all.filter((one) => one <= ms).length) / all.length
    expect(percentWithin(resumeBarMs * slack), 'percent of clients back in time').toBeGreaterThanOrEqual(
      resumedPercentBar,
    )
    return {
      losses: all.length,
      withinBarPercent: Math.floor(percentWithin(resumeBarMs) * 100) / 100,
      medianMs: Math.round(all[Math.floor(all.length / 2)] ?? 0),
      maxMs: Math.round(all.at(-1) ?? 0),
    }
  }

  /** How long the room that waited longest got no acknowledgement, from `sinceMs` on. */
  publishingPausedMs(sinceMs: number): number {
    const pauses = this.#publishers.flatMap(({ ackedMs }) => {
      const times = ackedMs.filter((ms) => ms >= sinceMs)
      return times.map((ms, index) => ms - (times[index - 1] ?? sinceMs))
    })
    return Math.round(Math.max(0, ...pauses))
  }

  /** Acknowledged, in all rooms. */
  get acked(): number {
    return this.#publishers.reduce((sum, { acked }) => sum + acked, 0)
  }

  /** Resolves when so many that begin now are acknowledged in each room. */
  async someAcksEach(count: number, deadlineMs: number): Promise<void> {
    const before = this.#publishers.map(({ acked }) => acked)
    const done = () => this.#publishers.every(({ acked }, index) => acked >= (before[index] ?? 0) + count)
    await until(`${count} acknowledgements in each room`, done, { deadlineMs })
  }

  /** How many were told that something is missing. */
  get told(): number {
    return this.#fans.filter(({ thread }) => thread.gapsTold > 0).length
  }

  /** Everything came once and in order until now, and nobody was told of a gap, unless `gapsMayBeTold`. */
  expectWhole({ gapsMayBeTold = false } = {}): void {
    expect(this.#fans.flatMap(({ thread }) => thread.problems)).toEqual([])
    if (!gapsMayBeTold) expect(this.told, 'told of a gap').toBe(0)
  }

  /**
   * The publishers stop, and the judgement is spoken: everything acknowledged is in the room's history once and in order, and every fan that
   * was in the room has seen it.
   */
  async expectNothingLost(): Promise<void> {
    // The second of them was sent after everybody had come.
    await this.someAcksEach(2, settleDeadlineMs)
    await Promise.all(this.#publishers.map((publisher) => publisher.stop(settleDeadlineMs)))
    const lastOf = new Map(this.#publishers.map(({ acked, room }) => [room, acked]))
    const behind = () =>
      this.#fans
        .filter(({ room, thread }) => thread.last !== lastOf.get(room))
        .map(({ room, thread }) => `${thread.who} stands at ${thread.last} of ${lastOf.get(room)}`)
    await until('everybody has the last message', () => behind().length === 0, {
      deadlineMs: settleDeadlineMs,
    }).catch(() => {})
    expect(behind(), 'did not get the last message').toEqual([])
    this.expectWhole()
    for (const publisher of this.#publishers) {
      const history = await historyOf(publisher)
      const { acked, room } = publisher
      expect(history, `history of ${room.name}`).toEqual(
        Array.from({ length: acked }, (_, index) => index + 1),
      )
    }
  }

  /** Everybody goes home. */
  disperse(): void {
    for (const publisher of this.#publishers) publisher.close()
    this.leave(0)
  }
}

/** The numbers in the room, oldest first. */
async function historyOf({ fan, room }: Publisher): Promise<number[]> {
  const ask = (options: object): Promise<ChatEvent> =>
    fan.ask({ type: 'history', room: room.name, ...options })
  const { epoch } = await ask({ limit: 0 })
  const numbers: number[] = []
  let offset: number | undefined = 0
  while (offset !== undefined) {
    const page: ChatEvent = await ask({ limit: 1_000, since: { epoch, offset } })
    const messages = page.messages ?? []
    numbers.push(...messages.map(({ content }) => content?.n ?? 0))
    offset = messages.at(-1)?.offset
  }
  return numbers
}
