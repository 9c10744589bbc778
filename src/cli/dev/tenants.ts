// Suggestions for trying a tenant out, read from its policy.
import { lobbyChannel } from '../../protocol/chat/channels.js'
import type { TenantPolicy } from '../../tenant/policy.js'

/** The value of every claim in suggestions. */
const sampleClaim = 'red'

/**
 * Returns channels to start with: the literal ones, and patterns over claims with `red` filled in. The lobby
 * and the user's direct-message channel are left out, because clients are subscribed to them automatically.
 */
export function suggestedRooms(policy: TenantPolicy): string[] {
  return policy.channels
    .filter(({ match }) => match.type !== 'Prefix' && match.value !== lobbyChannel)
    .map(({ match }) => match.value.replaceAll(/\{claims\.[^}]+\}/g, sampleClaim))
    .filter((channel) => !/[{*]/.test(channel))
}

/** Returns the claims that the patterns of the rules use, each with the sample value. */
export function suggestedClaims(policy: TenantPolicy): Record<string, string> {
  const names = policy.channels.flatMap(({ match }) =>
    [...match.value.matchAll(/\{claims\.([^}]+)\}/g)].map(([, name]) => name ?? ''),
  )
  return Object.fromEntries(names.map((name) => [name, sampleClaim]))
}
