// Reads the kubeconfigs of the tests' API server, which are JSON and contain a token.

/** @param {string} text @returns {{ url: string, ca: string, token: string }} */
export function bearerOf(text) {
  const { clusters, users } = JSON.parse(text)
  const { 'certificate-authority-data': ca, server } = clusters[0].cluster
  return { url: server, ca: Buffer.from(ca, 'base64').toString(), token: users[0].user.token }
}
