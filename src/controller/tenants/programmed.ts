// Derives the condition `Programmed` of a tenant from its rollout state, with a pure function.
import type { RolloutState } from '../catalog/publisher.js'
import type { Verdict } from './conditions.js'

/**
 * Returns whether all live gateways enforce the tenant's spec. `accepted` says whether the current spec was
 * compiled. If it was not, `revision` is the revision that gateways enforce instead, or undefined when it is
 * unknown, and `suspended` says whether that revision refuses all clients.
 */
export function programmedVerdict(
  rollout: RolloutState,
  facts: { accepted: true } | { accepted: boolean; revision: string | undefined; suspended: boolean },
): Verdict {
  if (!facts.accepted) {
    const { revision, suspended } = facts
    if (revision === undefined)
      return needsAction(
        'NeverAccepted',
        'Gateways do not know this tenant, because its spec was never accepted. Correct the spec.',
      )
    const suffix = suspended ? ' They refuse all clients: the tenant is suspended.' : ''
    return needsAction(
      'LastGoodRevision',
      `The spec is not accepted. Gateways enforce the last accepted revision ${revision}.${suffix}`,
    )
  }
  switch (rollout.kind) {
    case 'all':
      return { ok: true, reason: 'Programmed', message: 'Every live gateway enforces this revision.' }
    case 'pending':
      return pending(
        'Pending',
        'The revision is in the catalog, but not every live gateway has reported it yet.',
      )
    case 'problem':
      return pending(
        'GatewayProblem',
        'A gateway cannot serve this revision. The log of the gateway says why.',
      )
    case 'noGateways':
      return pending(
        'NoGateways',
        'No gateway is running: none has reported to Redis in the last 15 seconds.',
      )
    case 'unavailable':
      return pending('CatalogUnavailable', `The catalog cannot be written to Redis: ${rollout.message}.`)
    case 'foreign':
      return needsAction(
        'CatalogNotOurs',
        `The catalog belongs to the cluster ${rollout.owner}, whose controller uses the same --installation.`,
      )
  }
}

function pending(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'time' }
}

function needsAction(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'action' }
}
