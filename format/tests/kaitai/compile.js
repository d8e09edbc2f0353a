// Generates a Python reader from a Kaitai Struct description: node compile.js MODULES DESCRIPTION OUT
const fs = require('fs');
const path = require('path');
const [modules, description, out] = process.argv.slice(2);
const load = (name) => require(path.join(path.resolve(modules), name));
const compiler = load('kaitai-struct-compiler');
const parsed = load('js-yaml').load(fs.readFileSync(description, 'utf8'));
const importer = { importYaml: (name) => { throw new Error(`${description} imports ${name}`); } };
const compile = typeof compiler.compile === 'function' ? compiler : new compiler();
Promise.resolve(compile.compile('python', parsed, importer, false)).then((files) => {
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(out, name), text);
}).catch((error) => { console.error(String(error)); process.exit(1); });
