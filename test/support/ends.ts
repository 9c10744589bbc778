// The close codes with which a server ends a session, and access to the only session of a gateway.
import { closeCodes } from '../../src/protocol/codes.js'
import type { Session } from '../../src/session/session.js'
import type { TestGateway } from './gateway.js'

const reconnects = (code: number): boolean => code < 3500 || (code >= 4000 && code < 4500)
const closes = Object.values(closeCodes)

/** The closes after which the client reconnects. */
export const temporaryCloses = closes.filter(({ code }) => reconnects(code))
/** The closes after which the client does not reconnect. */
export const finalCloses = closes.filter(({ code }) => !reconnects(code))

export function onlySession({ gateway }: TestGateway): Session {
  const [session] = [...gateway.tenants].flatMap(({ sessions }) => [...sessions])
  if (!session || gateway.context.sessions.size > 1)
    throw new Error('the gateway does not have exactly one session')
  return session
}
