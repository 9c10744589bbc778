// Tests that the oracle of the fault suite reports each kind of violation, and no false ones.
import { describe, expect, test } from 'vitest'
import {
  findViolations,
  type LogItem,
  type RunRecord,
  type PublishRecord,
  type SubscriberLog,
} from '../faults/oracle.js'

const at = (offset: number, epoch = 'e') => ({ epoch, offset })
const text = (offset: number) => `red|one|${offset}`
const got = (offset: number, what = text(offset), epoch = 'e'): LogItem => ({
  kind: 'received',
  position: at(offset, epoch),
  text: what,
  atMs: 0,
})
const from = (offset: number, epoch = ''): LogItem => ({ kind: 'from', position: at(offset, epoch), atMs: 0 })
const mark = (offset: number, epoch = 'e'): LogItem => ({
  kind: 'mark',
  position: at(offset, epoch),
  atMs: 0,
})
const acked = (offset: number, overrides: Partial<PublishRecord> = {}): PublishRecord => ({
  text: text(offset),
  tenant: 'red',
  channel: 'one',
  sentMs: 0,
  outcome: 'acked',
  position: at(offset),
  ...overrides,
})
const log = (...items: LogItem[]): SubscriberLog => ({ name: 's', tenant: 'red', channel: 'one', items })

/** Checks a run of three messages, all acknowledged and stored, of which one subscriber received `items`. */
function check(items: LogItem[], overrides: Partial<RunRecord> = {}): string[] {
  const run: RunRecord = {
    sent: [1, 2, 3].map((offset) => acked(offset)),
    logs: [log(...items)],
    histories: [
      {
        tenant: 'red',
        channel: 'one',
        epoch: 'e',
        entries: [1, 2, 3].map((offset) => ({ offset, text: text(offset) })),
      },
    ],
    ...overrides,
  }
  return findViolations(run).map(({ invariant }) => invariant)
}

const entries = (...offsets: number[]) => [
  {
    tenant: 'red',
    channel: 'one',
    epoch: 'e',
    entries: offsets.map((offset) => ({ offset, text: text(offset) })),
  },
]
const all = [from(0), got(1), got(2), got(3)]

describe('no violation', () => {
  test.each<[string, LogItem[]]>([
    ['all in order', all],
    ['a subscriber that starts at a position', [from(2, 'e'), got(3)]],
    ['a gap that is marked', [from(0), got(1), mark(2), got(3)]],
    ['a mark at the end', [from(0), got(1), mark(3)]],
  ])('%s', (_, items) => {
    expect(check(items)).toEqual([])
  })

  test('a stream that was lost, if subscribers were notified', () => {
    const items = [from(0), got(7, 'red|one|old', 'old'), mark(0), got(1), got(2), got(3)]
    const old = acked(7, { text: 'red|one|old', position: at(7, 'old') })
    const sent = [old, ...[1, 2, 3].map((offset) => acked(offset))]
    expect(check(items, { sent, storeLost: true })).toEqual([])
    expect(check(items, { sent })).toEqual(['I1', 'I3'])
  })
})

describe('I1', () => {
  test.each<[string, Partial<RunRecord>]>([
    ['acknowledged and not stored', { sent: [1, 2, 3, 4].map((offset) => acked(offset)) }],
    ['acknowledged at another offset', { sent: [acked(1, { position: at(2) }), acked(2), acked(3)] }],
    ['acknowledged in another epoch', { sent: [acked(1, { position: at(1, 'x') }), acked(2), acked(3)] }],
  ])('%s', (_, overrides) => {
    expect(check(all, overrides)).toEqual(['I1'])
  })

  test('stored twice', () => {
    const [history] = entries(1, 2, 3)
    const twice = { ...history!, entries: [...history!.entries, { offset: 4, text: text(1) }] }
    expect(check([...all, got(4, text(1))], { histories: [twice] })).toContain('I1')
  })
})

describe('I2', () => {
  test.each<[string, LogItem[]]>([
    ['a gap', [from(0), got(1), got(3)]],
    ['a gap at the start', [from(0), got(2), got(3)]],
    ['a gap at the end', [from(0), got(1), got(2)]],
    ['a gap before a mark', [from(0), got(2), mark(2), got(3)]],
    ['delivered twice', [from(0), got(1), got(1), got(2), got(3)]],
    ['out of order', [from(0), got(2), got(1), got(3)]],
    ['another epoch without a mark', [from(0), got(1), got(2), got(3, text(3), 'x')]],
  ])('%s', (_, items) => {
    expect(check(items)).toContain('I2')
  })
})

test('I3: a publication that is not in the history', () => {
  expect(check([...all, got(4)])).toEqual(['I3'])
  expect(check([from(0), got(1), got(2, text(9)), got(3)])).toEqual(['I3'])
  expect(check(all, { sent: [acked(1), acked(2)] })).toEqual(['I3'])
})

test('I4: a publication of another tenant', () => {
  expect(check([from(0), got(1, 'blue|one|1'), got(2), got(3)])).toContain('I4')
})
