// A group of clients of both endpoints, with a publisher in each room, and the verification of what all of
// them received.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../support/redis-processes.js'
import { resumeTargetMs, resumedPercentTarget, slack } from './targets.js'
import { ChatTestClient, sdkTestClient, type ChatEvent, type TestClient, type Room } from './test-clients.js'
import { Publisher } from './publisher.js'
import type { Tenant } from './tenants.js'

export interface ClientGroupOptions {
  readonly url: string
  readonly tenants: readonly Tenant[]
  readonly clients: number
  /** Number of rooms of each tenant. */
  readonly rooms: number
  /** Rate of all publishers together. */
  readonly publishesPerSecond: number
}

/** Clients connect gradually. Other tests cover many simultaneous connects. */
const joinsPerSecond = 100
/** One of this many clients uses the SDK; the others use the chat endpoint. */
const sdkEvery = 5
const settleDeadlineMs = 120_000

export interface Resumption {
  /** Number of times that a client lost its room. */
  readonly losses: number
  /** Percentage of the losses that were resumed within the target. */
  readonly withinTargetPercent: number
  readonly medianMs: number
  readonly maxMs: number
}

export class ClientGroup {
  readonly #options: ClientGroupOptions
  readonly #rooms: readonly Room[]
  readonly #publishers: Publisher[] = []
  #clients: TestClient[] = []
  #count = 0

  private constructor(options: ClientGroupOptions) {
    this.#options = options
    this.#rooms = options.tenants.flatMap((tenant) =>
      Array.from({ length: options.rooms }, (_, index) => ({ tenant, name: `room-${index}` })),
    )
  }

  static async connect(options: ClientGroupOptions): Promise<ClientGroup> {
    const group = new ClientGroup(options)
    const everyMs = (1_000 * group.#rooms.length) / options.publishesPerSecond
    try {
      for (const room of group.#rooms)
        group.#publishers.push(
          await Publisher.start({ name: `publisher-${room.name}`, room, url: options.url, everyMs }),
        )
      await group.add(options.clients)
      return group
    } catch (error) {
      group.close()
      throw error
    }
  }

  /** Connects more clients. Resolves when they are in their rooms. */
  async add(clients: number): Promise<void> {
    const { url } = this.#options
    const joining: Promise<void>[] = []
    for (let added = 0; added < clients; added += 1) {
      const room = this.#rooms[this.#count % this.#rooms.length]
      if (!room) throw new Error('the group has no rooms')
      const options = { name: `client-${this.#count}`, room, url }
      this.#count += 1
      const connecting = this.#count % sdkEvery === 0 ? sdkTestClient(options) : ChatTestClient.open(options)
      joining.push(connecting.then((client) => void this.#clients.push(client)))
      await sleep(1_000 / joinsPerSecond)
    }
    await Promise.all(joining)
  }

  /** Closes all clients except the first `count`. */
  keepOnly(count: number): void {
    for (const client of this.#clients.slice(count)) client.close()
    this.#clients = this.#clients.slice(0, count)
  }

  get size(): number {
    return this.#clients.length
  }

  /** Discards the resumption times recorded so far. */
  resetResumption(): void {
    for (const { log } of this.#clients) log.resumesMs.length = 0
  }

  /**
   * Resolves when `count` clients have lost their rooms since the last `resetResumption`, even if they are
   * back already.
   */
  async waitForLosses(count: number, deadlineMs: number): Promise<void> {
    const lost = () =>
      this.#clients.filter(({ log }) => log.lostMs !== undefined || log.resumesMs.length > 0).length
    await until(`${count} clients without their rooms`, () => lost() >= count, { deadlineMs })
  }

  /** Resolves when every client is in its room. */
  async waitForResumption(deadlineMs: number): Promise<void> {
    await until(
      'all clients back in their rooms',
      () => this.#clients.every(({ log }) => log.lostMs === undefined),
      {
        deadlineMs,
      },
    )
  }

  /**
   * The resumptions since the last `resetResumption`. Fails when fewer than 99.9 % took at most five times
   * the target.
   */
  resumption(): Resumption {
    const all = this.#clients.flatMap(({ log }) => log.resumesMs).toSorted((a, b) => a - b)
    const percentWithin = (ms: number) =>
      all.length === 0 ? 100 : (100 * all.filter((one) => one <= ms).length) / all.length
    expect(percentWithin(resumeTargetMs * slack), 'percent of clients back in time').toBeGreaterThanOrEqual(
      resumedPercentTarget,
    )
    return {
      losses: all.length,
      withinTargetPercent: Math.floor(percentWithin(resumeTargetMs) * 100) / 100,
      medianMs: Math.round(all[Math.floor(all.length / 2)] ?? 0),
      maxMs: Math.round(all.at(-1) ?? 0),
    }
  }

  /** The longest time without an acknowledgement in any room after `sinceMs`. */
  publishingPausedMs(sinceMs: number): number {
    const pauses = this.#publishers.flatMap(({ ackedMs }) => {
      const times = ackedMs.filter((ms) => ms >= sinceMs)
      return times.map((ms, index) => ms - (times[index - 1] ?? sinceMs))
    })
    return Math.round(Math.max(0, ...pauses))
  }

  /** Number of acknowledged messages in all rooms. */
  get acked(): number {
    return this.#publishers.reduce((sum, { acked }) => sum + acked, 0)
  }

  /** Resolves when `count` more messages are acknowledged in each room. */
  async waitForAcksInEachRoom(count: number, deadlineMs: number): Promise<void> {
    const before = this.#publishers.map(({ acked }) => acked)
    const done = () => this.#publishers.every(({ acked }, index) => acked >= (before[index] ?? 0) + count)
    await until(`${count} acknowledgements in each room`, done, { deadlineMs })
  }

  /** Number of clients that were notified of a gap. */
  get notifiedOfGap(): number {
    return this.#clients.filter(({ log }) => log.gapCount > 0).length
  }

  /**
   * Expects that all messages so far arrived once and in order, and that no client was notified of a gap
   * unless `allowGaps`.
   */
  expectNoViolations({ allowGaps = false } = {}): void {
    expect(this.#clients.flatMap(({ log }) => log.problems)).toEqual([])
    if (!allowGaps) expect(this.notifiedOfGap, 'notified of a gap').toBe(0)
  }

  /**
   * Stops the publishers. Expects that everything acknowledged is in the room's history once and in order,
   * and that every client of the room received it.
   */
  async expectNothingLost(): Promise<void> {
    // The second message in each room was sent after all clients had joined.
    await this.waitForAcksInEachRoom(2, settleDeadlineMs)
    await Promise.all(this.#publishers.map((publisher) => publisher.stop(settleDeadlineMs)))
    const lastOf = new Map(this.#publishers.map(({ acked, room }) => [room, acked]))
    const behind = () =>
      this.#clients
        .filter(({ room, log }) => log.last !== lastOf.get(room))
        .map(({ room, log }) => `${log.owner} has received ${log.last} of ${lastOf.get(room)}`)
    await until('the last message at all clients', () => behind().length === 0, {
      deadlineMs: settleDeadlineMs,
    }).catch(() => {})
    expect(behind(), 'clients without the last message').toEqual([])
    this.expectNoViolations()
    for (const publisher of this.#publishers) {
      const history = await historyOf(publisher)
      const { acked, room } = publisher
      expect(history, `history of ${room.name}`).toEqual(
        Array.from({ length: acked }, (_, index) => index + 1),
      )
    }
  }

  /** Closes all clients and publishers. */
  close(): void {
    for (const publisher of this.#publishers) publisher.close()
    this.keepOnly(0)
  }
}

/** The numbers of the messages in the room's history, oldest first. */
async function historyOf({ client, room }: Publisher): Promise<number[]> {
  const request = (options: object): Promise<ChatEvent> =>
    client.ask({ type: 'history', room: room.name, ...options })
  const { epoch } = await request({ limit: 0 })
  const numbers: number[] = []
  let offset: number | undefined = 0
  while (offset !== undefined) {
    const page: ChatEvent = await request({ limit: 1_000, since: { epoch, offset } })
    const messages = page.messages ?? []
    numbers.push(...messages.map(({ content }) => content?.n ?? 0))
    offset = messages.at(-1)?.offset
  }
  return numbers
}
