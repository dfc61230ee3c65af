/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity/known_releases.h"

#include <string.h>

/* The hashes of Meta's files agree in both lists. */
#define SOURCE_META "susumuota/local-llm-setup llama/original/ (sha256 lists); ggerganov/llama.cpp SHA256SUMS of 2023"
/* Those of 7B and 13B are confirmed by conversions of elinas, those of 30B and 65B by nobody else. */
#define SOURCE_HF "susumuota/local-llm-setup llama/hf/ (transformers 4.29.2, float16)"
#define SOURCE_VICUNA "susumuota/local-llm-setup vicuna/hf/ (FastChat, transformers 4.28.1, float16)"
/*
 * The repository as published is the release in_text_60k. Its pull request 1 renames it to ckpt2 and, as far as seen,
 * changes config.json alone: so these hashes name the weights of the repository, and its config.json the release.
 */
#define SOURCE_DELTA "huggingface.co microsoft/llava-med-7b-delta, LFS pointers at 1becb13a and refs/pr/4"

static const struct known_file known_files[] = {
    {"700df0d3013b703a806d2ae7f1bfb8e59814e3d06ae78be0c66368a50059f33d",
     "consolidated.00.pth", "LLaMA-1 7B", KNOWN_LLAMA1, true, UINT64_C(13476939516), SOURCE_META},
    {"7e89e242ddc0dd6f060b43ca219ce8b3e8f08959a72cb3c0855df8bb04d46265",
     "params.json", "LLaMA-1 7B", KNOWN_LLAMA1, false, 101, SOURCE_META},
    {"745bf4e29a4dd6f411e72976d92b452da1b49168a4f41c951cfcc8051823cf08",
     "consolidated.00.pth", "LLaMA-1 13B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"d5ccbcc465c71c0de439a5aeffebe8344c68a519bce70bc7f9f92654ee567085",
     "consolidated.01.pth", "LLaMA-1 13B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"4ab77bec4d4405ccb66a97b282574c89a94417e3c32e5f68f37e2876fc21322f",
     "params.json", "LLaMA-1 13B", KNOWN_LLAMA1, false, 101, SOURCE_META},
    {"e23294a58552d8cdec5b7e8abb87993b97ea6eced4178ff2697c02472539d067",
     "consolidated.00.pth", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"4e077b7136c7ae2302e954860cf64930458d3076fcde9443f4d0e939e95903ff",
     "consolidated.01.pth", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"24a87f01028cbd3a12de551dcedb712346c0b5cbdeff1454e0ddf2df9b675378",
     "consolidated.02.pth", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"1adfcef71420886119544949767f6a56cb6339b4d5fcde755d80fe68b49de93b",
     "consolidated.03.pth", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"2c07118ea98d69dbe7810d88520e30288fa994751b337f8fca02b171955f44cb",
     "params.json", "LLaMA-1 30B", KNOWN_LLAMA1, false, 101, SOURCE_META},
    {"135c563f6b3938114458183afb01adc9a63bef3d8ff7cccc3977e5d3664ecafe",
     "consolidated.00.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"9a600b37b19d38c7e43809485f70d17d1dc12206c07efa83bc72bb498a568bde",
     "consolidated.01.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"e7babf7c5606f165a3756f527cb0fedc4f83e67ef1290391e52fb1cce5f26770",
     "consolidated.02.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"73176ffb426b40482f2aa67ae1217ef79fbbd1fff5482bae5060cdc5a24ab70e",
     "consolidated.03.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"882e6431d0b08a8bc66261a0d3607da21cbaeafa96a24e7e59777632dbdac225",
     "consolidated.04.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"a287c0dfe49081626567c7fe87f74cce5831f58e459b427b5e05567641f47b78",
     "consolidated.05.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"72b4eba67a1a3b18cb67a85b70f8f1640caae9b40033ea943fb166bd80a7b36b",
     "consolidated.06.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"d27f5b0677d7ff129ceacd73fd461c4d06910ad7787cf217b249948c3f3bc638",
     "consolidated.07.pth", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_META},
    {"999ed1659b469ccc2a941714c0a9656fa571d17c9f7c8c7589817ca90edef51b",
     "params.json", "LLaMA-1 65B", KNOWN_LLAMA1, false, 101, SOURCE_META},
    {"9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347",
     "tokenizer.model", "LLaMA-1 and Vicuna v1.1", KNOWN_SHARED, false, 499723, SOURCE_META},
    {"67a11fd7ff965c176e53e306db9f4fe60411b5e924085c224989e563d050faed",
     "config.json", "LLaMA-1 7B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"69fcce14a485ff201e7a3bbd90970b71a55b71653f236af98dd99eaae5a0cf1c",
     "generation_config.json", "LLaMA-1", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0",
     "pytorch_model-00001-of-00002.bin", "LLaMA-1 7B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"461bc5e50200db7813ff99cc0b9316c48ccbd6aaaa31bf8cf7bee0b64bc3eda3",
     "pytorch_model-00002-of-00002.bin", "LLaMA-1 7B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"aca3c1facc89d12311a667c32e85ac86e625990992ea8a189e3b036ba371b931",
     "pytorch_model.bin.index.json", "LLaMA-1 and Vicuna v1.1", KNOWN_SHARED, false, 0, SOURCE_HF},
    {"ff3b4a612c4e447acb02d40071bddd989fe0da87eb5b7fe0dbadfc4f74de7531",
     "special_tokens_map.json", "LLaMA-1 and Vicuna v1.1", KNOWN_SHARED, false, 0, SOURCE_HF},
    {"3fe35fa1a9d4df5d3dac8ddb3e84bd3e68df5a74ef9b5a6715a966f2d1487900",
     "tokenizer.json", "LLaMA-1", KNOWN_LLAMA1, false, 1842898, SOURCE_HF},
    {"516c6167c884793a738c440e29ccb80c15e1493ffc965affc69a1a8ddef4572a",
     "tokenizer_config.json", "LLaMA-1 and Vicuna v1.1", KNOWN_SHARED, false, 0, SOURCE_HF},
    {"9d12950651bb4f977ea510054ca1780666d6ba1e5796948987a81742170df322",
     "config.json", "LLaMA-1 13B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"dd20cdee2637408c6ab88c13f5c27d153bacd0e99f2d55f6a66fbd0269944436",
     "pytorch_model-00001-of-00003.bin", "LLaMA-1 13B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"1aba886c5f28d2e2e9b04ab3c4f5bc250c6b06efc1baa3f557677b3097f70e6a",
     "pytorch_model-00002-of-00003.bin", "LLaMA-1 13B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"2efc56cddb7877c830bc5b402ee72996aedb5694c9e8007bf1d52d72c0d97d26",
     "pytorch_model-00003-of-00003.bin", "LLaMA-1 13B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"92c31ad5e853e9a6660e248871f9bd0cd273518de7ec12ca893e1b1078c10898",
     "pytorch_model.bin.index.json", "LLaMA-1 and Vicuna v1.1", KNOWN_SHARED, false, 0, SOURCE_HF},
    {"0cf642345192e73a8b05ef25ae41d5882f7119aa7608195932a55865295fd5ea",
     "config.json", "LLaMA-1 30B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"9c2a7223ab5f9cf3d46913d2b776e99cbd6ed93f69991594b92a8cef0c681a78",
     "pytorch_model-00001-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"4984274738e52195f4b1a5b35d719cf0fade6df1f645507d92d61af4dd8dcdfe",
     "pytorch_model-00002-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"64c73932562810c5c33b15bfec5921d3ced0e8cdb3766c214eda2f45fa3edd13",
     "pytorch_model-00003-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"c7d72d11770f5b58eb45c2dd8e19aae2cbd5a03463b564de3945b21825ebacba",
     "pytorch_model-00004-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"174128542031f4ad7ceb6c799e8e5461ec1ca91a72a01402c567e5f6a8b33d8c",
     "pytorch_model-00005-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"80e2cfa18994385fa88f03d500017346dfd6dc1e58e957d046af39d9a7e254fa",
     "pytorch_model-00006-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"065611608159615ced8d38473ee693129a1a0d872ced0ad8daf09290af7c7061",
     "pytorch_model-00007-of-00007.bin", "LLaMA-1 30B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"132d90ebefb682313eb66bf40238fbe1eb0a18225f75b569cfadcb533ff4e0b6",
     "pytorch_model.bin.index.json", "LLaMA-1 30B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"af5b889e4252aa2119b16b8be71f0049d6a5d65806b21ea2aa312ec3c051e675",
     "config.json", "LLaMA-1 65B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"e6d3d292c7dcbf6da8ff64b0839987499a846bebb9e3c419a7bf48974056b6ae",
     "pytorch_model-00001-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"e3853b75c5d6e840f18a08ef5a35bbcdc301b4581c31528483dba3e5d0f37d8b",
     "pytorch_model-00002-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"86aca42e3715c37650eb782ea0744640098ea3f15db9e0fbe0ae53fa0f51643d",
     "pytorch_model-00003-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"858ed4b012c5ef89df411547cbcbff844b103f62c1da05eb5152cebfd4e32992",
     "pytorch_model-00004-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"2a2d8216f84e61d9f5e0ed719e596c927d63269669ab83a3a779c4bbfbb629c3",
     "pytorch_model-00005-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"a0e43346c2e210dc0862fd8fe83202eba576911e5412a1fbfb5aaccc4ba56ab0",
     "pytorch_model-00006-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"2c2871a0f36b32e847826871db00313edeeba01154739845dfa1bcf9269c62f2",
     "pytorch_model-00007-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"db995a9f84bdbf21aab94aba9a99bb0a90bf16bb19a29ec8a5a35a603d74edb1",
     "pytorch_model-00008-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"873b80be55af0faa0613cf6e21ad8c04214042121e7a9378cdf014ba2883f99d",
     "pytorch_model-00009-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"3d24d1c8724ba0710bd7dbf00883b791c2ab0ea0b7a9d5c412601a5c2873b117",
     "pytorch_model-00010-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"0f71fce96d7f445c21ef39534fe370e8fcda9d17a5e2e7d1c2eb0c33eafa4b7d",
     "pytorch_model-00011-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"1b9b8289558455784a870f32855f99a0c6d9b53bc2cb932aa22b3772dd5536e0",
     "pytorch_model-00012-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"dc08f270e2bb0609913078fc934367a7b3d5edbe03c047e623937885724a0f1b",
     "pytorch_model-00013-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"3ae8228041710c45b14fee2400c11dfe1d485997c36f045d3e9a9ddc3bf76da7",
     "pytorch_model-00014-of-00014.bin", "LLaMA-1 65B", KNOWN_LLAMA1, true, 0, SOURCE_HF},
    {"27f5af68d3629d0306d8a164c187286ad7d802020a3c33244f9ee7b0d79b749f",
     "pytorch_model.bin.index.json", "LLaMA-1 65B", KNOWN_LLAMA1, false, 0, SOURCE_HF},
    {"fa5c427326be24e1d048b2d0b29e4cdaf1c1e425a7fd45f1fa33568d532acf93",
     "config.json", "Vicuna 7B v1.1", KNOWN_OTHER, false, 0, SOURCE_VICUNA},
    {"062a37a6d986c38231880f5cce4fa9a0145aeefcf8be9ab23ddf7d600c037aea",
     "generation_config.json", "Vicuna v1.1", KNOWN_OTHER, false, 0, SOURCE_VICUNA},
    {"5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1",
     "pytorch_model-00001-of-00002.bin", "Vicuna 7B v1.1", KNOWN_OTHER, true, 0, SOURCE_VICUNA},
    {"d9382da358f0ec38c4fca3bcf1e3e65274ae4c78090e0775b4bb4dea6a518e08",
     "pytorch_model-00002-of-00002.bin", "Vicuna 7B v1.1", KNOWN_OTHER, true, 0, SOURCE_VICUNA},
    {"c264d91f19bb1247f4054e65f5d546cf45db124146e7011f46c31248f3786cda",
     "config.json", "Vicuna 13B v1.1", KNOWN_OTHER, false, 0, SOURCE_VICUNA},
    {"7e754ec47918eb6569468a1fbdc68ee376202eb4e34c97a05951d894e195d296",
     "pytorch_model-00001-of-00003.bin", "Vicuna 13B v1.1", KNOWN_OTHER, true, 0, SOURCE_VICUNA},
    {"eecea1120efcd762af48bf54d7d5ff9ef3128cc33f144533dfc5a926fb6c541c",
     "pytorch_model-00002-of-00003.bin", "Vicuna 13B v1.1", KNOWN_OTHER, true, 0, SOURCE_VICUNA},
    {"bf1ed63a11c0d9176006fe49914eaa911f0e73c2aaf614c11f8534ec934d7a89",
     "pytorch_model-00003-of-00003.bin", "Vicuna 13B v1.1", KNOWN_OTHER, true, 0, SOURCE_VICUNA},
    {"09431ba834a30e9c5d86ef2bf0765cd64f852f4a351bcc0976ba9f3df320de2b",
     "pytorch_model-00001-of-00002.bin", "LLaVA-Med v1 7B delta", KNOWN_DELTA, true, 0, SOURCE_DELTA},
    {"41d5c871c253afbee3eb6dcb389f9248c5b2e53162a45c068337f7824aac81cd",
     "pytorch_model-00002-of-00002.bin", "LLaVA-Med v1 7B delta", KNOWN_DELTA, true, 0, SOURCE_DELTA},
};

const struct known_file *known_release_find(const char *sha256, uint64_t n_bytes)
{
    for (size_t i = 0; i < sizeof known_files / sizeof known_files[0]; i++) {
        const struct known_file *row = &known_files[i];
        if (strcmp(row->sha256, sha256) == 0) {
            return row->n_bytes == 0 || row->n_bytes == n_bytes ? row : NULL;
        }
    }
    return NULL;
}

size_t known_release_rows(const struct known_file **rows)
{
    *rows = known_files;
    return sizeof known_files / sizeof known_files[0];
}
