// Names that nobody defined, uses or can reach. The files of a widget are one module: see pages.py.
import globals from "globals";
import js from "@eslint/js";

const SHARED = "^(?:SEVERITIES|keepInView|listReading|useState|Kept|Prose|Sheet)$"; // not every widget uses them

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    rules: {
      "no-unused-vars": ["error", { args: "none", varsIgnorePattern: SHARED }],
      "no-control-regex": "off", // text of traces is searched for what cannot be seen
      "no-misleading-character-class": "off",
      eqeqeq: "error",
      "prefer-const": "error",
    },
  },
];
