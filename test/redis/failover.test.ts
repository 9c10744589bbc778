// A master dies under load: what was acknowledged is there, and every subscriber has all of it once and in order, or was told.
import { afterAll, expect, test } from 'vitest'
import { CommandError } from '../../src/errors.js'
import type { BrokerListener, ChannelRef, Position, Publication } from '../../src/broker/broker.js'
import { openTestBroker, type TestRedisBroker } from '../support/redis-gateway.js'
import { endRedisProcesses, startSentinelTrio, until } from '../support/redis-processes.js'

afterAll(() => endRedisProcesses())

const history = { size: 100_000, ttlMs: 3_600_000 }

/** What one gateway heard of one channel: texts and offsets, and where it was told that something is missing. */
class Heard implements BrokerListener {
  readonly byChannel = new Map<string, (Publication | { lost: Position })[]>()

  onPublication(ref: ChannelRef, publication: Publication): void {
    this.of(ref.channel).push(publication)
  }

  onAnnouncement(): void {}

  onContinuityLost(ref: ChannelRef, top: Position): void {
    this.of(ref.channel).push({ lost: top })
  }

  of(channel: string): (Publication | { lost: Position })[] {
    const heard = this.byChannel.get(channel) ?? []
    this.byChannel.set(channel, heard)
    return heard
  }
}

const textOf = (publication: Publication): string => Buffer.from(publication.data).toString()

test('Sentinel failover under load', { timeout: 120_000 }, async () => {
  const trio = await startSentinelTrio({ downAfterMs: 1000, minReplicas: 0 })
  const gateways: TestRedisBroker[] = [openTestBroker(trio.url), openTestBroker(trio.url)]
  const heard = gateways.map(({ broker }) => {
    const listener = new Heard()
    broker.listen(listener)
    return listener
  })
  const refs = ['a', 'b', 'c', 'd'].map((channel) => ({ tenantId: 't', channel }))
  for (const { broker } of gateways) for (const ref of refs) await broker.subscribe(ref)

  const acked = new Map<string, Set<string>>(refs.map(({ channel }) => [channel, new Set()]))
  const failures: string[] = []
  let go = true
  let sent = 0
  let lastAckMs = 0
  let longestPauseMs = 0
  const publishing: Promise<void>[] = []
  const load = (async () => {
    while (go) {
      for (const [index, { broker }] of gateways.entries()) {
        const ref = refs[sent % refs.length] ?? refs[0]!
        const text = `${index}-${sent}`
        sent += 1
        publishing.push(
          broker.publish(ref, { data: Buffer.from(text) }, { history }).then(
            () => {
              acked.get(ref.channel)?.add(text)
              const nowMs = performance.now()
              if (lastAckMs > 0) longestPauseMs = Math.max(longestPauseMs, nowMs - lastAckMs)
              lastAckMs = nowMs
            },
            (error: unknown) => {
              failures.push(error instanceof CommandError ? error.code : String(error))
            },
          ),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  await until('some acks', () => [...acked.values()].every((texts) => texts.size > 50))
  const old = await trio.master()
  old.kill()
  await trio.failedOver(old)
  await until('acks after the failover', () => performance.now() - lastAckMs < 100)
  const before = [...acked.values()].reduce((sum, texts) => sum + texts.size, 0)
  await until(
    'more acks',
    () => [...acked.values()].reduce((sum, texts) => sum + texts.size, 0) > before + 200,
  )
  go = false
  await load
  await Promise.all(publishing)
  console.log({
    sent,
    failures: failures.length,
    kinds: [...new Set(failures)],
    longestPauseMs: Math.round(longestPauseMs),
  })

  for (const ref of refs) {
    const stored: Publication[] = []
    let since: Position | undefined
    for (;;) {
      const page = await gateways[0]!.broker.history(ref, { limit: 1000, since })
      if (page.publications.length === 0) break
      stored.push(...page.publications)
      since = stored.at(-1)
    }
    const storedTexts = stored.map(textOf)
    const storedSet = new Set(storedTexts)
    expect(storedSet.size, 'once in history').toBe(storedTexts.length)
    expect(
      [...(acked.get(ref.channel) ?? [])].filter((text) => !storedSet.has(text)),
      'acknowledged, not in history',
    ).toEqual([])
    for (const listener of heard) {
      await until('the last of the history', () => {
        const last = listener.of(ref.channel).at(-1)
        return last && 'data' in last && last.offset === stored.at(-1)?.offset
      })
      const got = listener.of(ref.channel)
      expect(
        got.filter((item) => 'lost' in item),
        'told that something is missing',
      ).toEqual([])
      const publications = got.filter((item): item is Publication => 'data' in item)
      expect(publications.map(textOf), 'what was heard is the history, in order').toEqual(storedTexts)
    }
  }
  await Promise.all(gateways.map((gateway) => gateway.close()))
})
