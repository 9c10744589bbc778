import { describe, expect, test } from 'vitest'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { TimerWheel } from '../../time.js'
import type { SurveyRequest, SurveyAnswer } from './control-messages.js'
import { Surveys } from './surveys.js'

const acme = { key: 'demo/acme', policy: { tenantId: 't1' } } as TenantRuntime

/** Starts a survey of the gateway `me`, while `count` gateways are live. */
function startSurvey(count: number) {
  let nowMs = 0
  const wheel = new TimerWheel({ clock: { epochMs: () => nowMs, monotonicMs: () => nowMs } })
  const sent: SurveyRequest[] = []
  const surveys = new Surveys({
    id: 'me',
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
    kind: 'survey',
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
    expect((await answers).map(({ gateway }) => gateway)).toEqual(['a', 'b'])
  })

  test('after two seconds, with the answers received by then', async () => {
    const { answers, isDone, pass, survey, surveys } = startSurvey(2)
    const { id } = await survey()
    surveys.onAnswer(answerOf(id, 'a'))
    pass(1_500)
    expect(await isDone()).toBe(false)
    pass(1_000)
    expect((await answers).map(({ gateway }) => gateway)).toEqual(['a'])
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
  expect(await answers).toHaveLength(2)
  surveys.onAnswer(answerOf(id, 'c'))
})
