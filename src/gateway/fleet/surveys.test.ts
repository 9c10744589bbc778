import { describe, expect, test } from 'vitest'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { TimerWheel } from '../../time.js'
import type { SurveyRequest, SurveyAnswer } from './control-messages.js'
import { Surveys } from './surveys.js'

const acme = { key: 'demo/acme', policy: { tenantId: 't1' } } as TenantRuntime

/** Starts a survey of the gateway `me`, while `count` gateways are live. */
function startSurvey(count: number) {
  let nowMs = 0
  const clock = { epochMs: () => nowMs, monotonicMs: () => nowMs }
  const wheel = new TimerWheel({ clock })
  const sent: SurveyRequest[] = []
  const surveys = new Surveys({
    id: 'me',
    clock,
    wheel,
    sendRequest: async (survey) => void sent.push(survey),
    sendAnswer: async () => {},
    countGateways: async () => count,
    tenant: () => acme,
    onAnswerFailed: (error) => {
      throw error
    },
  })
  const collected = surveys.collect(acme, 'room:*')
  let done = false
  const settled = collected.finally(() => (done = true))
  return {
    surveys,
    answers: settled,
    isDone: async (): Promise<boolean> => {
      await turn()
      return done
    },
    /** Resolves to the request that was sent. */
    survey: async (): Promise<SurveyRequest> => {
      await turn()
      const [survey] = sent
      if (!survey) throw new Error('nothing was sent')
      return survey
    },
    pass: (ms: number): void => {
      nowMs += ms
      wheel.advance()
    },
  }
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

const answerOf = (survey: string, gateway: string): SurveyAnswer => ({
  survey,
  gateway,
  clients: 1,
  users: 1,
  subscriptions: 0,
  channels: 0,
  uptimeS: 1,
  named: [],
})

test('the request holds the tenant’s identity, and the gateway that the answers go to', async () => {
  const { survey } = startSurvey(1)
  expect(await survey()).toMatchObject({
    tenant: 'demo/acme',
    tenantId: 't1',
    asker: 'me',
    pattern: 'room:*',
  })
})

describe('a survey finishes', () => {
  test('when as many gateways have answered as are live', async () => {
    const { answers, isDone, survey, surveys } = startSurvey(2)
    const { id } = await survey()
    surveys.onAnswer(answerOf(id, 'a'))
    expect(await isDone()).toBe(false)
    surveys.onAnswer(answerOf(id, 'b'))
    const { answers: received, expected } = await answers
    expect([received.map(({ gateway }) => gateway), expected]).toEqual([['a', 'b'], 2])
  })

  test('after two seconds, with the answers received by then and the number that was expected', async () => {
    const { answers, isDone, pass, survey, surveys } = startSurvey(2)
    const { id } = await survey()
    surveys.onAnswer(answerOf(id, 'a'))
    pass(1_500)
    expect(await isDone()).toBe(false)
    pass(1_000)
    const { answers: received, expected } = await answers
    expect([received.map(({ gateway }) => gateway), expected]).toEqual([['a'], 2])
  })
})

test('answers to another survey, repeated answers and late answers are ignored', async () => {
  const { answers, isDone, survey, surveys } = startSurvey(2)
  const { id } = await survey()
  surveys.onAnswer(answerOf('another', 'b'))
  surveys.onAnswer(answerOf(id, 'a'))
  surveys.onAnswer(answerOf(id, 'a'))
  expect(await isDone()).toBe(false)
  surveys.onAnswer(answerOf(id, 'b'))
  expect((await answers).answers).toHaveLength(2)
  surveys.onAnswer(answerOf(id, 'c'))
})

/** A gateway that has a tenant with `count` channels, and what it answers. */
function answering(count: number) {
  let nowMs = 0
  const clock = { epochMs: () => nowMs, monotonicMs: () => nowMs }
  const channels = Array.from({ length: count }, (_, n) => [`room:${n}`.padEnd(200, 'x'), 1] as const)
  const tenant = {
    key: 'demo/acme',
    policy: { tenantId: 't1' },
    quota: { connections: 0, users: 0 },
    channels: { subscribedChannels: () => channels },
  } as unknown as TenantRuntime
  const sent: SurveyAnswer[] = []
  const surveys = new Surveys({
    id: 'me',
    clock,
    wheel: new TimerWheel({ clock }),
    sendRequest: async () => {},
    sendAnswer: async (_, answer) => void sent.push(answer),
    countGateways: async () => 1,
    tenant: () => tenant,
    onAnswerFailed: () => {},
  })
  const request = { tenant: 'demo/acme', tenantId: 't1', id: 's', asker: 'a', namedBytesMax: 16_384 }
  return { surveys, tenant, sent, request, pass: (ms: number) => void (nowMs += ms) }
}

describe('the bounds', () => {
  test('an answer names no more channels than fit, and says that there are more', () => {
    const { request, sent, surveys } = answering(10_000)
    surveys.answer({ ...request, pattern: '*', namedBytesMax: 41_943 })
    expect(Buffer.byteLength(JSON.stringify(sent[0]))).toBeLessThan(42_500)
    expect(sent[0]).toMatchObject({ channels: 10_000, truncated: true })
    surveys.answer({ ...request, pattern: 'room:1x*', namedBytesMax: 41_943 })
    expect(sent[1]).not.toHaveProperty('truncated')
  })

  test('a gateway does not answer a flood of surveys of one tenant', () => {
    const { pass, request, sent, surveys } = answering(10)
    for (let n = 0; n < 1_000; n += 1) surveys.answer({ ...request, pattern: '*' })
    expect(sent).toHaveLength(20)
    pass(1_000)
    for (let n = 0; n < 1_000; n += 1) surveys.answer(request)
    expect(sent).toHaveLength(30)
  })

  test('a gateway asks the others at most so often for one tenant', async () => {
    const { surveys, tenant } = answering(10)
    const all = Array.from({ length: 30 }, () => surveys.collect(tenant))
    const refused = all.map((one) => one.then(() => undefined).catch((error: unknown) => error))
    await turn()
    expect(await Promise.all(refused.slice(20))).toEqual(
      Array.from({ length: 10 }, () => expect.objectContaining({ code: 'QUOTA_EXCEEDED' }) as unknown),
    )
  })
})
