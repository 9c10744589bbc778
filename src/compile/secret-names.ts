// The names of the Secrets that hold generated keys, where the resource does not choose a name itself.

/** Returns the name of the Secret that holds the generated keys of the ChatTenant `tenant`. */
export function tenantSecretName(tenant: string): string {
  return `${tenant}-credentials`
}

/** Returns the name of the Secret that holds the generated API key of the ChatCredential `credential`. */
export function credentialSecretName(credential: string): string {
  return `${credential}-credential`
}
